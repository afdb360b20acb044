#include "common/statistics/start_statistics.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

// Of a site's sum: an error of 2^-29. Up to 2^35 / max_terms fit.
constexpr int kFisherBits = 28;

bool IsTrained(const TensorSpec& tensor) {
  return tensor.kind == TensorKind::kWeight;
}

bool WantsClassCounts(const Plan& plan) {
  return plan.loss.class_weights == ClassWeights::kFederated;
}
int64_t ClassCount(const Plan& plan, const ParameterLayout&) {
  return plan.num_classes();
}

bool WantsFisher(const Plan& plan) { return plan.regularizers.ewc_federated; }
int64_t FisherCount(const Plan&, const ParameterLayout& layout) {
  int64_t count = 0;
  for (const TensorSpec& tensor : layout.tensors()) {
    if (IsTrained(tensor)) count += tensor.Count();
  }
  return count;
}

absl::Status TooLarge(const char* name, int64_t index, double value,
                      double most) {
  return absl::InvalidArgumentError(
      absl::StrCat("statistic ", name, "[", index, "] is ", value,
                   "; expected a finite number of at most ", most));
}

}  // namespace

const std::vector<StatisticSpec>& StatisticSpecs() {
  static const auto* specs = new std::vector<StatisticSpec>{
      {StatisticKind::kClassCounts, "class_counts", 0, true, WantsClassCounts,
       ClassCount},
      {StatisticKind::kFisher, "fisher", kFisherBits, false, WantsFisher,
       FisherCount}};
  return *specs;
}

StatisticsLayout::StatisticsLayout(const Plan& plan,
                                   const ParameterLayout& layout) {
  int64_t begin = 1;  // the number of records
  for (const StatisticSpec& spec : StatisticSpecs()) {
    if (!spec.asked(plan)) continue;
    const int64_t count = spec.count(plan, layout);
    parts_.push_back({&spec, begin, count});
    begin += count;
  }
  count_ = parts_.empty() ? 0 : begin;
}

const StatisticsLayout::Part* StatisticsLayout::Find(StatisticKind kind) const {
  for (const Part& part : parts_) {
    if (part.spec->kind == kind) return &part;
  }
  return nullptr;
}

std::string AskedStatistics(const Plan& plan) {
  std::vector<std::string> names;
  for (const StatisticSpec& spec : StatisticSpecs()) {
    if (spec.asked(plan)) names.push_back(spec.name);
  }
  return absl::StrJoin(names, ", ");
}

absl::StatusOr<ParameterLayout> FisherLayout(const ParameterLayout& layout) {
  std::vector<TensorSpec> trained;
  std::copy_if(layout.tensors().begin(), layout.tensors().end(),
               std::back_inserter(trained), IsTrained);
  return ParameterLayout::Create(std::move(trained));
}

RingSpec StatisticsRing() { return RingSpec{64, 0}; }

absl::StatusOr<std::vector<uint64_t>> PackStatistics(
    const StatisticsLayout& layout, int max_terms,
    absl::Span<const double> sums) {
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "statistics: expected ", layout.count(), " sums, got ", sums.size()));
  }
  std::vector<uint64_t> words(sums.size());
  const auto pack = [&](const char* name, int64_t begin, int64_t count,
                        int bits) -> absl::Status {
    const double most = std::ldexp(1.0, 63 - bits) / max_terms / 2;
    for (int64_t i = begin; i < begin + count; ++i) {
      if (!(std::abs(sums[i]) <= most)) {
        return TooLarge(name, i - begin, sums[i], most);
      }
      words[i] = static_cast<uint64_t>(
          static_cast<int64_t>(std::nearbyint(std::ldexp(sums[i], bits))));
    }
    return absl::OkStatus();
  };
  absl::Status status = pack("records", 0, std::min<int64_t>(1, layout.count()),
                             /*bits=*/0);
  for (const StatisticsLayout::Part& part : layout.parts()) {
    if (!status.ok()) break;
    status =
        pack(part.spec->name, part.begin, part.count, part.spec->fraction_bits);
  }
  if (!status.ok()) return status;
  return words;
}

std::vector<double> UnpackStatistics(const StatisticsLayout::Part& part,
                                     absl::Span<const uint64_t> words) {
  FG_CHECK(static_cast<int64_t>(words.size()) >= part.begin + part.count);
  std::vector<double> values;
  values.reserve(static_cast<size_t>(part.count));
  for (const uint64_t word : words.subspan(part.begin, part.count)) {
    values.push_back(std::ldexp(static_cast<double>(static_cast<int64_t>(word)),
                                -part.spec->fraction_bits));
  }
  return values;
}

void StatisticsCheck::Add(int64_t begin, absl::Span<const uint64_t> words) {
  const int64_t end = begin + static_cast<int64_t>(words.size());
  if (begin == 0 && end > 0) records_ = static_cast<int64_t>(words[0]);
  for (size_t p = 0; p < layout_.parts().size(); ++p) {
    const StatisticsLayout::Part& part = layout_.parts()[p];
    const int64_t last = std::min(end, part.begin + part.count);
    for (int64_t i = std::max(begin, part.begin); i < last; ++i) {
      const uint64_t word = words[static_cast<size_t>(i - begin)];
      if (static_cast<int64_t>(word) < 0 && status_.ok()) {
        status_ = absl::InvalidArgumentError(
            absl::StrCat("statistic ", part.spec->name, "[", i - part.begin,
                         "]: expected 0 or more, got a negative number"));
      }
      if (!part.spec->counts_records) continue;
      // None is above the records, so that their sum cannot wrap unseen.
      if (static_cast<int64_t>(word) > records_ && status_.ok()) {
        status_ = absl::InvalidArgumentError(absl::StrCat(
            "statistic ", part.spec->name, "[", i - part.begin,
            "]: expected at most the ", records_, " records, got ", word));
      }
      totals_[p] += word;
    }
  }
}

absl::Status StatisticsCheck::Finish() const {
  if (records_ < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "statistics: expected a positive number of records, got ", records_));
  }
  if (!status_.ok()) return status_;
  for (size_t p = 0; p < totals_.size(); ++p) {
    const StatisticSpec& spec = *layout_.parts()[p].spec;
    if (!spec.counts_records || totals_[p] == static_cast<uint64_t>(records_)) {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("statistic ", spec.name,
                     ": expected counts that add up "
                     "to the ",
                     records_, " records, got ", totals_[p]));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
