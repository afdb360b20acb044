#include "common/model/evaluation_layout.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr double kNormal975 = 1.959963984540054;

// AUC of one class, and the variance of its estimate where it is defined.
struct BinnedAuc {
  double auc = 0;
  std::optional<double> variance;
};

double Total(absl::Span<const double> histogram) {
  double total = 0;
  for (double count : histogram) total += count;
  return total;
}

// Variance of the mean of `scores` with these counts.
double VarianceOfMean(absl::Span<const double> counts,
                      absl::Span<const double> scores, double mean,
                      double total) {
  double sum = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    sum += counts[i] * (scores[i] - mean) * (scores[i] - mean);
  }
  return sum / (total - 1) / total;
}

// DeLong, DeLong and Clarke-Pearson 1988, equations 3 to 5, on scores that are
// known up to their bin: a positive's placement is the share of negatives in
// lower bins plus half of those in its own, and the other way round. nullopt
// unless there are both kinds.
std::optional<BinnedAuc> AucOf(absl::Span<const double> negatives,
                               absl::Span<const double> positives) {
  const double n = Total(negatives);
  const double m = Total(positives);
  if (!(n > 0) || !(m > 0)) return std::nullopt;
  std::vector<double> of_positive(kScoreBins), of_negative(kScoreBins);
  double negatives_below = 0, positives_below = 0, auc = 0;
  for (int bin = 0; bin < kScoreBins; ++bin) {
    of_positive[bin] = (negatives_below + negatives[bin] / 2) / n;
    of_negative[bin] = (m - positives_below - positives[bin] / 2) / m;
    auc += positives[bin] * of_positive[bin];
    negatives_below += negatives[bin];
    positives_below += positives[bin];
  }
  BinnedAuc result;
  result.auc = auc / m;
  if (n > 1 && m > 1) {
    result.variance = VarianceOfMean(positives, of_positive, result.auc, m) +
                      VarianceOfMean(negatives, of_negative, result.auc, n);
  }
  return result;
}

void AddConfusionMetrics(const EvaluationLayout& layout,
                         absl::Span<const double> sums,
                         std::map<std::string, double>& metrics) {
  double right = 0, recalls = 0;
  int present = 0;
  for (int truth = 0; truth < layout.num_classes(); ++truth) {
    double records = 0;
    for (int predicted = 0; predicted < layout.num_classes(); ++predicted) {
      records += sums[layout.ConfusionIndex(truth, predicted)];
    }
    const double hits = sums[layout.ConfusionIndex(truth, truth)];
    right += hits;
    if (records > 0) {
      recalls += hits / records;
      ++present;
    }
  }
  metrics["accuracy"] = right / sums[0];
  if (present > 1) metrics["balanced_accuracy"] = recalls / present;
}

void AddAucMetrics(const EvaluationLayout& layout,
                   absl::Span<const double> sums,
                   std::map<std::string, double>& metrics) {
  double auc_sum = 0, deviation_sum = 0;
  int defined = 0, with_variance = 0;
  for (int i = 0; i < layout.num_histograms(); ++i) {
    const int c = layout.num_classes() == 2 ? 1 : i;
    const auto auc =
        AucOf(sums.subspan(layout.HistogramIndex(c, false), kScoreBins),
              sums.subspan(layout.HistogramIndex(c, true), kScoreBins));
    if (!auc.has_value()) continue;
    ++defined;
    auc_sum += auc->auc;
    if (auc->variance.has_value()) {
      ++with_variance;
      deviation_sum += std::sqrt(*auc->variance);
    }
    if (layout.num_classes() > 2) {
      metrics[absl::StrCat("auc_", c)] = auc->auc;
    }
  }
  if (defined == 0) return;
  const double auc = auc_sum / defined;
  metrics["auc"] = auc;
  if (with_variance < defined || !(auc > 0 && auc < 1)) return;
  // Histograms do not tell how the classes' estimates correlate; the mean of
  // the deviations bounds the deviation of the mean for every correlation.
  const double deviation = deviation_sum / defined;
  const double logit = std::log(auc / (1 - auc));
  const double half = kNormal975 * deviation / (auc * (1 - auc));
  metrics["auc_low"] = 1 / (1 + std::exp(half - logit));
  metrics["auc_high"] = 1 / (1 + std::exp(-half - logit));
}

}  // namespace

int64_t EvaluationLayout::Count() const {
  return 2 + int64_t{classes_} * classes_ +
         int64_t{num_histograms()} * 2 * kScoreBins;
}

int64_t EvaluationLayout::ConfusionIndex(int truth, int predicted) const {
  FG_CHECK(truth >= 0 && truth < classes_ && predicted >= 0 &&
           predicted < classes_);
  return 2 + int64_t{truth} * classes_ + predicted;
}

int64_t EvaluationLayout::HistogramIndex(int c, bool positive) const {
  FG_CHECK(c >= 0 && c < classes_ && (classes_ > 2 || c == 1));
  const int histogram = classes_ == 2 ? 0 : c;
  return 2 + int64_t{classes_} * classes_ +
         (int64_t{histogram} * 2 + (positive ? 1 : 0)) * kScoreBins;
}

void AddRecord(const EvaluationLayout& layout,
               absl::Span<const float> probabilities, int truth, double loss,
               absl::Span<double> sums) {
  const int classes = layout.num_classes();
  FG_CHECK(static_cast<int>(probabilities.size()) == classes &&
           static_cast<int64_t>(sums.size()) == layout.Count());
  int predicted = 0;
  for (int c = 1; c < classes; ++c) {
    if (probabilities[c] > probabilities[predicted]) predicted = c;
  }
  sums[0] += 1;
  sums[layout.LossIndex()] += loss;
  sums[layout.ConfusionIndex(truth, predicted)] += 1;
  for (int i = 0; i < layout.num_histograms(); ++i) {
    const int c = classes == 2 ? 1 : i;
    // A model that diverged gives NaN: bin 0 here, and the loss, NaN too, is
    // refused when the sums are quantised.
    const float p =
        probabilities[c] >= 0 ? std::min(probabilities[c], 1.0f) : 0.0f;
    const int bin = std::min(static_cast<int>(p * kScoreBins), kScoreBins - 1);
    sums[layout.HistogramIndex(c, truth == c) + bin] += 1;
  }
}

absl::StatusOr<std::map<std::string, double>> EvaluationMetrics(
    const EvaluationLayout& layout, absl::Span<const double> sums) {
  if (static_cast<int64_t>(sums.size()) != layout.Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("evaluation: ", layout.Count(), " sums expected for ",
                     layout.num_classes(), " classes, ", sums.size(), " came"));
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    const bool may_be_negative = static_cast<int64_t>(i) == layout.LossIndex();
    if (!std::isfinite(sums[i]) || (sums[i] < 0 && !may_be_negative)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "evaluation: sum ", i, " is ", sums[i], ", not a count"));
    }
  }
  if (!(sums[0] > 0)) {
    return absl::InvalidArgumentError("evaluation: no records");
  }
  std::map<std::string, double> metrics;
  metrics["n"] = sums[0];
  metrics["loss"] = sums[layout.LossIndex()] / sums[0];
  AddConfusionMetrics(layout, sums, metrics);
  AddAucMetrics(layout, sums, metrics);
  return metrics;
}

}  // namespace fedgraft
