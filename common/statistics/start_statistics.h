#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/numeric/ring_codec.h"

// Sums over a site's training records that a run gathers once, before its first
// round of training and at the model from which that starts. As 64-bit ring
// words they are exact, so their sum over sites does not depend on order, and
// they can be masked as any other update.

namespace fedgraft {

enum class StatisticKind {
  // Records of each class, [classes]: class weights from all sites.
  kClassCounts,
  // Diagonal Fisher information of the parameters that travel, summed over
  // records, in the order of FisherLayout: EWC. A site with more records than
  // it samples sends their estimated sum.
  kFisher,
};

struct StatisticSpec {
  StatisticKind kind;
  const char* name;
  // Sums are rounded to multiples of 2^-fraction_bits: a site's sum is off by
  // at most half of that. 0: counts, which are exact.
  int fraction_bits;
  // Whether each record is counted once, so that the sums add up to the number
  // of records. No sum is negative.
  bool counts_records;
  bool (*asked)(const Plan& plan);
  // How many sums.
  int64_t (*count)(const Plan& plan, const ParameterLayout& layout);
};

// The list of all, in the order of the wire. One more: a line in
// start_statistics.cc, and what computes and uses it in
// client/train/run_statistics.h.
const std::vector<StatisticSpec>& StatisticSpecs();

// Of sums in one run: what was gathered, with the model, is one message.
inline constexpr int64_t kStatisticsMax = int64_t{1} << 27;

// The order of the sums that a plan asks for: the number of records, then the
// parts.
class StatisticsLayout {
 public:
  struct Part {
    const StatisticSpec* spec = nullptr;
    int64_t begin = 0, count = 0;
  };

  StatisticsLayout(const Plan& plan, const ParameterLayout& layout);

  // True if the plan asks for none: nothing is gathered.
  bool empty() const { return parts_.empty(); }
  // Of sums and of words.
  int64_t count() const { return count_; }
  const std::vector<Part>& parts() const { return parts_; }
  // Null: not asked for.
  const Part* Find(StatisticKind kind) const;

 private:
  std::vector<Part> parts_;
  int64_t count_ = 0;
};

// Names of those that the plan asks for, for people: "class_counts, fisher".
// Empty: none, and the layout is empty.
std::string AskedStatistics(const Plan& plan);

// The tensors that are trained: all but BatchNorm's statistics.
absl::StatusOr<ParameterLayout> FisherLayout(const ParameterLayout& layout);

// 64-bit words, scaled here and not by the ring.
RingSpec StatisticsRing();

// One site's sums on the grid. INVALID_ARGUMENT, naming the part and the index:
// not as many sums as the layout has, one that is not finite, or one too large
// for `max_terms` such sums to fit: a statistic must be exact, so nothing
// saturates.
absl::StatusOr<std::vector<uint64_t>> PackStatistics(
    const StatisticsLayout& layout, int max_terms,
    absl::Span<const double> sums);
// The values of one part's words, of one site or summed over sites.
std::vector<double> UnpackStatistics(const StatisticsLayout::Part& part,
                                     absl::Span<const uint64_t> words);

// Checks words piece by piece, in order: at least one record, nothing negative,
// and counts that add up to the records.
class StatisticsCheck {
 public:
  // `layout` outlives the check.
  explicit StatisticsCheck(const StatisticsLayout& layout)
      : layout_(layout), totals_(layout.parts().size()) {}

  // Words [begin, begin + words.size()).
  void Add(int64_t begin, absl::Span<const uint64_t> words);
  // INVALID_ARGUMENT naming the part, what was expected and what came.
  absl::Status Finish() const;

 private:
  const StatisticsLayout& layout_;
  int64_t records_ = 0;
  std::vector<uint64_t> totals_;  // by part, if it counts records
  absl::Status status_;
};

}  // namespace fedgraft
