#include "common/shift/paired_auc.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

// 1-based; equal values share the mean of their ranks.
std::vector<double> MidRanks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&values](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) {
      ++end;
    }
    const double rank = (static_cast<double>(begin + end) + 1) / 2;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

// Structural components of one AUC.
struct Components {
  double auc = 0;
  std::vector<double> positives;  // V10, of each positive record
  std::vector<double> negatives;  // V01
};

Components ComponentsOf(absl::Span<const int64_t> labels,
                        absl::Span<const double> scores) {
  std::vector<double> positives, negatives;
  for (size_t i = 0; i < labels.size(); ++i) {
    (labels[i] == 1 ? positives : negatives).push_back(scores[i]);
  }
  std::vector<double> all = positives;
  all.insert(all.end(), negatives.begin(), negatives.end());
  const std::vector<double> ranks = MidRanks(all);
  const std::vector<double> own_positive = MidRanks(positives);
  const std::vector<double> own_negative = MidRanks(negatives);
  const auto m = static_cast<double>(positives.size());
  const auto n = static_cast<double>(negatives.size());
  Components components;
  for (size_t i = 0; i < positives.size(); ++i) {
    components.positives.push_back((ranks[i] - own_positive[i]) / n);
    components.auc += components.positives.back() / m;
  }
  for (size_t i = 0; i < negatives.size(); ++i) {
    components.negatives.push_back(
        1 - (ranks[positives.size() + i] - own_negative[i]) / m);
  }
  return components;
}

double Covariance(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (a[i] - mean_a) * (b[i] - mean_b);
  }
  return sum / (n - 1);
}

// Of two AUCs, or the variance of one.
double AucCovariance(const Components& a, const Components& b) {
  return Covariance(a.positives, b.positives) /
             static_cast<double>(a.positives.size()) +
         Covariance(a.negatives, b.negatives) /
             static_cast<double>(a.negatives.size());
}

absl::Status CheckScores(absl::Span<const int64_t> labels,
                         absl::Span<const double> scores) {
  if (labels.size() != scores.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("AUC: expected a score for each of ", labels.size(),
                     " records, not ", scores.size()));
  }
  for (double score : scores) {
    if (!std::isfinite(score)) {
      return absl::InvalidArgumentError("AUC: a score is not finite");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PairedAuc> CompareAuc(absl::Span<const int64_t> labels,
                                     absl::Span<const double> score_a,
                                     absl::Span<const double> score_b) {
  FG_RETURN_IF_ERROR(CheckScores(labels, score_a));
  FG_RETURN_IF_ERROR(CheckScores(labels, score_b));
  int64_t counts[2] = {0, 0};
  for (int64_t label : labels) {
    if (label != 0 && label != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("AUC: expected label 0 or 1, not ", label));
    }
    ++counts[label];
  }
  if (counts[0] < 2 || counts[1] < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("AUC: expected two records of each class or more, not ",
                     counts[0], " and ", counts[1]));
  }
  const Components a = ComponentsOf(labels, score_a);
  const Components b = ComponentsOf(labels, score_b);
  PairedAuc result;
  result.auc_a = a.auc;
  result.auc_b = b.auc;
  result.variance_a = AucCovariance(a, a);
  result.variance_b = AucCovariance(b, b);
  result.covariance = AucCovariance(a, b);
  result.difference = a.auc - b.auc;
  result.deviation = std::sqrt(std::max(
      result.variance_a + result.variance_b - 2 * result.covariance, 0.0));
  if (result.deviation > 0) {
    result.z = result.difference / result.deviation;
    result.p = 2 * NormalTail(std::abs(result.z));
  }
  return result;
}

}  // namespace fedgraft
