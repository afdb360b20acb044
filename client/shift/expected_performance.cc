#include "client/shift/expected_performance.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/shift/performance_estimate.h"
#include "client/shift/site_sketch.h"
#include "client/shift/target_prior.h"
#include "common/base/status_macros.h"
#include "common/shift/label_shift.h"
#include "common/shift/paired_auc.h"

namespace fedgraft {
namespace {

constexpr double kQuantile = 1.959963984540054;  // 95 %, two-sided
// Of an AUC: below it, all pairs are in order.
constexpr double kVarianceMin = 1e-12;

// Posteriors on the records, of the source or corrected to their own prior.
absl::StatusOr<std::vector<double>> ReadOutputs(const MatrixView& outputs,
                                                const SourceOutputs& source,
                                                bool undoes_label_shift) {
  FG_ASSIGN_OR_RETURN(std::vector<double> posteriors,
                      source.Posteriors(outputs));
  if (!undoes_label_shift) return posteriors;
  const MatrixView view{posteriors, outputs.rows, outputs.columns};
  FG_ASSIGN_OR_RETURN(const PriorEstimate target,
                      EstimatePriorEm(view, source.prior()));
  return CorrectPosteriors(view, source.prior(),
                           Smoothed(target.prior, outputs.rows));
}

// Measures of labels that are drawn anew and of decisions and ranks that stay.
class DrawnLabels {
 public:
  explicit DrawnLabels(const MatrixView& outputs)
      : outputs_(outputs), order_(outputs.rows), labels_(outputs.rows) {
    for (int64_t r = 0; r < outputs.rows; ++r) {
      predicted_.push_back(PredictedClass(outputs.Row(r)));
    }
    std::iota(order_.begin(), order_.end(), int64_t{0});
    std::sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
      return outputs.Row(a)[1] < outputs.Row(b)[1];
    });
  }
  void Draw(absl::Span<const double> posteriors, std::mt19937_64& random) {
    const int64_t classes = outputs_.columns;
    for (int64_t r = 0; r < outputs_.rows; ++r) {
      double rest = std::ldexp(static_cast<double>(random() >> 11), -53);
      int64_t label = 0;
      for (; label + 1 < classes; ++label) {
        rest -= posteriors[r * classes + label];
        if (rest < 0) break;
      }
      labels_[r] = label;
    }
  }
  // NaN where a class has no record.
  double BalancedAccuracy() const {
    std::vector<double> right(outputs_.columns), total(outputs_.columns);
    for (size_t r = 0; r < labels_.size(); ++r) {
      total[labels_[r]] += 1;
      right[labels_[r]] += predicted_[r] == labels_[r] ? 1 : 0;
    }
    double sum = 0;
    for (size_t c = 0; c < total.size(); ++c) sum += right[c] / total[c];
    return sum / static_cast<double>(total.size());
  }
  // Of class 1 against class 0, equal scores half.
  double Auc() const {
    double ordered = 0, negatives = 0, positives = 0;
    for (size_t begin = 0; begin < order_.size();) {
      double tied[2] = {};
      size_t end = begin;
      for (; end < order_.size() && Score(end) == Score(begin); ++end) {
        ++tied[labels_[order_[end]]];
      }
      ordered += tied[1] * (negatives + tied[0] / 2);
      negatives += tied[0];
      positives += tied[1];
      begin = end;
    }
    return ordered / (negatives * positives);
  }

 private:
  double Score(size_t place) const { return outputs_.Row(order_[place])[1]; }
  const MatrixView outputs_;
  std::vector<int64_t> order_, labels_, predicted_;
};

absl::Status SetInterval(std::vector<double> draws, MeasureInterval& measure) {
  std::erase_if(draws, [](double value) { return !std::isfinite(value); });
  if (draws.size() < kPerformanceDraws / 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("expected performance: of ", kPerformanceDraws,
                     " draws of the validation records and of labels only ",
                     draws.size(), " had enough of every class"));
  }
  std::sort(draws.begin(), draws.end());
  const auto at = [&](double share) {
    return draws[static_cast<size_t>(
        std::lround(share * static_cast<double>(draws.size() - 1)))];
  };
  measure.low = std::min(at(0.025), measure.value);
  measure.high = std::max(at(0.975), measure.value);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelPerformance> ExpectPerformance(
    const MatrixView& outputs, const LabelledOutputs& validation,
    bool undoes_label_shift, uint64_t seed) {
  FG_ASSIGN_OR_RETURN(const SourceOutputs source,
                      SourceOutputs::Calibrate(validation));
  FG_ASSIGN_OR_RETURN(const std::vector<double> posteriors,
                      ReadOutputs(outputs, source, undoes_label_shift));
  const int64_t classes = outputs.columns;
  FG_ASSIGN_OR_RETURN(
      const PerformanceEstimate estimate,
      EstimatePerformance({posteriors, outputs.rows, classes}, outputs));

  const std::vector<double> thinned = ThinRows(outputs, kPerformanceRecordsMax);
  const MatrixView rows{thinned, static_cast<int64_t>(thinned.size()) / classes,
                        classes};
  DrawnLabels labels(rows);
  std::vector<double> accuracies, aucs;
  std::mt19937_64 random(seed);
  for (int b = 0; b < kPerformanceDraws; ++b) {
    const auto drawn = CalibrateOnADraw(validation, random);
    if (!drawn.ok()) continue;
    const auto p = ReadOutputs(rows, *drawn, undoes_label_shift);
    if (!p.ok()) continue;
    labels.Draw(*p, random);
    accuracies.push_back(labels.BalancedAccuracy());
    if (classes == 2) aucs.push_back(labels.Auc());
  }
  ModelPerformance performance;
  performance.balanced_accuracy.value = estimate.balanced_accuracy;
  FG_RETURN_IF_ERROR(
      SetInterval(std::move(accuracies), performance.balanced_accuracy));
  if (classes == 2) {
    performance.auc.emplace().value = estimate.auc;
    FG_RETURN_IF_ERROR(SetInterval(std::move(aucs), *performance.auc));
  }
  return performance;
}

absl::StatusOr<ModelPerformance> ObservePerformance(
    const LabelledOutputs& records) {
  const MatrixView& outputs = records.outputs;
  FG_RETURN_IF_ERROR(CheckOutputs(outputs, outputs.columns));
  if (static_cast<int64_t>(records.labels.size()) != outputs.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("outputs: expected ", outputs.rows, " labels, got ",
                     records.labels.size()));
  }
  const int64_t classes = outputs.columns;
  std::vector<double> right(classes), total(classes), score;
  for (int64_t r = 0; r < outputs.rows; ++r) {
    const int64_t label = records.labels[r];
    if (label < 0 || label >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("outputs: label ", label, " of ", classes, " classes"));
    }
    total[label] += 1;
    right[label] += PredictedClass(outputs.Row(r)) == label ? 1 : 0;
    score.push_back(outputs.Row(r)[1]);
  }
  ModelPerformance performance;
  MeasureInterval& balanced = performance.balanced_accuracy;
  double variance = 0;
  for (int64_t c = 0; c < classes; ++c) {
    if (!(total[c] > 0)) {
      return absl::FailedPreconditionError(
          absl::StrCat("no labelled record is of class ", c));
    }
    const double recall = right[c] / total[c];
    balanced.value += recall / static_cast<double>(classes);
    // Half a record either way, so that a recall of 1 has a variance.
    const double share = (right[c] + 0.5) / (total[c] + 1);
    variance += share * (1 - share) / total[c];
  }
  const double half =
      kQuantile * std::sqrt(variance) / static_cast<double>(classes);
  balanced.low = std::max(balanced.value - half, 0.0);
  balanced.high = std::min(balanced.value + half, 1.0);
  if (classes != 2) return performance;
  FG_ASSIGN_OR_RETURN(const PairedAuc auc,
                      CompareAuc(records.labels, score, score));
  MeasureInterval& area = performance.auc.emplace();
  if (!(auc.variance_a > kVarianceMin)) {
    // No pair tells how wide it is: the rule of three for the rarer class.
    const double reach = std::min(3 / std::min(total[0], total[1]), 1.0);
    area = {auc.auc_a, std::max(auc.auc_a - reach, 0.0),
            std::min(auc.auc_a + reach, 1.0)};
  } else {
    area.value = auc.auc_a;
    const double centre = std::log(auc.auc_a / (1 - auc.auc_a));
    const double reach =
        kQuantile * std::sqrt(auc.variance_a) / (auc.auc_a * (1 - auc.auc_a));
    area.low = 1 / (1 + std::exp(reach - centre));
    area.high = 1 / (1 + std::exp(-reach - centre));
  }
  return performance;
}

}  // namespace fedgraft
