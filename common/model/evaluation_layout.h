#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

// What an evaluate task sends: sums over records, in this order, as doubles
// (then as 64-bit ring words with kEvaluationFractionBits):
//   n | Σ loss | confusion [C, C] (true, predicted) | score histograms
//   [C, 2, kScoreBins]: for class c, records that are not c, then that are,
//   counted by bin floor(p_c · kScoreBins).
// For C = 2 only class 1 has a histogram (class 0 is its mirror).

namespace fedgraft {

inline constexpr int kScoreBins = 1024;
inline constexpr int kEvaluationFractionBits = 20;

class EvaluationLayout {
 public:
  explicit EvaluationLayout(int num_classes) : classes_(num_classes) {}
  int64_t Count() const;
  int64_t LossIndex() const { return 1; }
  int64_t ConfusionIndex(int truth, int predicted) const;
  // First of kScoreBins entries. For C = 2, `c` must be 1.
  int64_t HistogramIndex(int c, bool positive) const;
  int num_classes() const { return classes_; }
  int num_histograms() const { return classes_ == 2 ? 1 : classes_; }

 private:
  int classes_;
};

// Adds one record. `probabilities` [C]; loss in nats.
void AddRecord(const EvaluationLayout& layout,
               absl::Span<const float> probabilities, int truth, double loss,
               absl::Span<double> sums);

// Metrics of the sums: n, loss, accuracy, balanced_accuracy, auc (macro,
// one-vs-rest, over classes that have both kinds of record), auc_low and
// auc_high (95 %; DeLong's variance of the binned scores, on the logit scale),
// and auc_<c> for C > 2. Metrics that are undefined (one-class data) are
// absent, never 0 or NaN. INVALID_ARGUMENT: wrong length, n = 0, negative
// counts.
absl::StatusOr<std::map<std::string, double>> EvaluationMetrics(
    const EvaluationLayout& layout, absl::Span<const double> sums);

}  // namespace fedgraft
