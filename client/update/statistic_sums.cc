#include "client/update/statistic_sums.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

absl::StatusOr<std::vector<double>> ReadSums(FileStore& files,
                                             std::string_view path,
                                             int64_t count) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  const uint64_t expected = static_cast<uint64_t>(count) * sizeof(double);
  if (file->size_bytes() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's sums ", std::string(path), " have ",
                     file->size_bytes(), " bytes, expected ", expected));
  }
  std::vector<double> sums(expected / sizeof(double));
  FG_RETURN_IF_ERROR(file->ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(sums.data()), expected)));
  return sums;
}

}  // namespace

absl::StatusOr<StatisticSums> StatisticSums::Create(
    const Plan& plan, const ParameterLayout& layout,
    const std::vector<double>& sums) {
  const StatisticsLayout statistics(plan, layout);
  FG_ASSIGN_OR_RETURN(std::vector<uint64_t> words,
                      PackStatistics(statistics, MaxTerms(plan), sums));
  StatisticsCheck check(statistics);
  check.Add(0, words);
  FG_RETURN_IF_ERROR(check.Finish());
  return StatisticSums(std::move(words));
}

absl::StatusOr<StatisticSums> ReadStatisticSums(FileStore& files,
                                                std::string_view path,
                                                const Plan& plan,
                                                const ParameterLayout& layout) {
  FG_ASSIGN_OR_RETURN(
      const std::vector<double> sums,
      ReadSums(files, path, StatisticsLayout(plan, layout).count()));
  return StatisticSums::Create(plan, layout, sums);
}

absl::StatusOr<SketchSums> SketchSums::Create(const Look& look,
                                              absl::Span<const double> sums) {
  if (look.done()) {
    return absl::InvalidArgumentError("the look has no further stage");
  }
  FG_ASSIGN_OR_RETURN(std::vector<uint64_t> words, look.Pack(sums));
  return SketchSums(std::move(words));
}

absl::StatusOr<SketchSums> SketchSumsReader::Read(
    FileStore& files, std::string_view path, const std::string& pooled_path,
    const Plan& plan, const ParameterLayout& layout) {
  Bytes pooled;
  if (!pooled_path.empty()) {
    FG_ASSIGN_OR_RETURN(pooled, ReadAll(files, pooled_path));
  }
  bool follows = false;
  if (look_.has_value() && plan_ == plan.hash) {
    absl::StatusOr<bool> followed = look_->Follow(pooled);
    if (!followed.ok()) look_.reset();
    FG_RETURN_IF_ERROR(followed.status());
    follows = *followed;
  }
  if (!follows) {
    look_.reset();
    FG_ASSIGN_OR_RETURN(Look look, Look::Decode(plan, layout, pooled));
    look_.emplace(std::move(look));
    plan_ = plan.hash;
  }
  FG_ASSIGN_OR_RETURN(
      const std::vector<double> sums,
      ReadSums(files, path, look_->done() ? 0 : look_->words()));
  return SketchSums::Create(*look_, sums);
}

}  // namespace fedgraft
