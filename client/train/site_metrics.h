#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace fedgraft {

// A classifier's answers on one split, by record.
struct Predictions {
  int classes = 0;
  std::vector<float> probabilities;  // [n, classes]
  std::vector<int> labels;           // [n], 0..classes-1
  std::vector<double> losses;        // [n], nats

  size_t count() const { return labels.size(); }
  absl::Span<const float> Row(size_t record) const {
    return absl::MakeConstSpan(probabilities)
        .subspan(record * classes, classes);
  }
};

// Area under the ROC curve with what its variance needs. Exact, ties count
// one half. DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988; computed
// by mid-ranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014).
struct Auc {
  double value = 0;
  // Influence of each record on `value`, scaled so that the sum of their
  // squares is DeLong's variance. Empty if there is only one record of a kind.
  std::vector<double> influence;
};
// nullopt unless both kinds of record are there. Spans of one length.
std::optional<Auc> ComputeAuc(absl::Span<const float> scores,
                              absl::Span<const bool> positive);

// 95 % interval on the logit scale; nullopt where that is undefined (AUC of 0
// or 1, no variance).
struct Interval {
  double low = 0, high = 0;
};
std::optional<Interval> AucInterval(double auc, double variance);

// A site's own numbers: n, loss, accuracy, balanced_accuracy, auc (macro,
// one-vs-rest, over classes that have both kinds of record), auc_low and
// auc_high, and auc_<c> for more than two classes. Undefined ones are absent.
// `prefix` comes before each name. Empty for no record.
std::map<std::string, double> SiteMetrics(const Predictions& predictions,
                                          const std::string& prefix);

// The sums of common/model/evaluation_layout.h.
std::vector<double> EvaluationSums(const Predictions& predictions);

}  // namespace fedgraft
