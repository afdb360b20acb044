#include "client/update/statistic_sums.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/numeric/update_payload.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {

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
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  const uint64_t expected =
      static_cast<uint64_t>(StatisticsLayout(plan, layout).count()) *
      sizeof(double);
  if (file->size_bytes() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's sums ", std::string(path), " have ",
                     file->size_bytes(), " bytes, expected ", expected));
  }
  std::vector<double> sums(expected / sizeof(double));
  FG_RETURN_IF_ERROR(file->ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(sums.data()), expected)));
  return StatisticSums::Create(plan, layout, sums);
}

}  // namespace fedgraft
