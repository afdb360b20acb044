#include "client/train/site_metrics.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/model/evaluation_layout.h"

namespace fedgraft {
namespace {

constexpr double kNormal975 = 1.959963984540054;

// Ranks from 1 of the scores at `records`; ties get their mean rank.
std::vector<double> MidRanks(absl::Span<const float> scores,
                             const std::vector<size_t>& records) {
  std::vector<size_t> order(records.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return scores[records[a]] < scores[records[b]];
  });
  std::vector<double> ranks(records.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() &&
           scores[records[order[end]]] == scores[records[order[begin]]]) {
      ++end;
    }
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

struct Confusion {
  std::vector<double> total, right;  // by true class
};

Confusion Count(const Predictions& predictions) {
  Confusion confusion{std::vector<double>(predictions.classes),
                      std::vector<double>(predictions.classes)};
  for (size_t i = 0; i < predictions.count(); ++i) {
    const absl::Span<const float> row = predictions.Row(i);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    confusion.total[predictions.labels[i]] += 1;
    if (best == predictions.labels[i]) confusion.right[best] += 1;
  }
  return confusion;
}

// AUC of class `c` against the rest.
std::optional<Auc> ClassAuc(const Predictions& predictions, int c) {
  const size_t n = predictions.count();
  std::vector<float> scores(n);
  // std::vector<bool> has no span.
  std::unique_ptr<bool[]> positive(new bool[n]);
  for (size_t i = 0; i < n; ++i) {
    scores[i] = predictions.Row(i)[c];
    positive[i] = predictions.labels[i] == c;
  }
  return ComputeAuc(scores, absl::MakeConstSpan(positive.get(), n));
}

void AddAuc(const Predictions& predictions, const std::string& prefix,
            std::map<std::string, double>& metrics) {
  double sum = 0;
  int defined = 0;
  bool has_variance = true;
  std::vector<double> influence(predictions.count());
  const int first = predictions.classes == 2 ? 1 : 0;
  for (int c = first; c < predictions.classes; ++c) {
    const std::optional<Auc> auc = ClassAuc(predictions, c);
    if (!auc) continue;
    if (predictions.classes > 2) {
      metrics[absl::StrCat(prefix, "auc_", c)] = auc->value;
    }
    sum += auc->value;
    ++defined;
    has_variance = has_variance && !auc->influence.empty();
    for (size_t i = 0; i < auc->influence.size(); ++i) {
      influence[i] += auc->influence[i];
    }
  }
  if (defined == 0) return;
  metrics[prefix + "auc"] = sum / defined;
  if (!has_variance) return;
  double variance = 0;
  for (double value : influence) variance += value * value;
  variance /= static_cast<double>(defined) * defined;
  if (auto interval = AucInterval(sum / defined, variance)) {
    metrics[prefix + "auc_low"] = interval->low;
    metrics[prefix + "auc_high"] = interval->high;
  }
}

}  // namespace

std::optional<Auc> ComputeAuc(absl::Span<const float> scores,
                              absl::Span<const bool> positive) {
  FG_CHECK(scores.size() == positive.size());
  std::vector<size_t> all(scores.size()), members[2];
  std::iota(all.begin(), all.end(), size_t{0});
  for (size_t i : all) members[positive[i] ? 1 : 0].push_back(i);
  if (members[0].empty() || members[1].empty()) return std::nullopt;
  const std::vector<double> ranks = MidRanks(scores, all);
  // For a record, the fraction of the other kind that it is on the right side
  // of: (rank among all - rank among its own kind) / other kind's count.
  std::vector<double> placement(scores.size());
  for (int kind : {0, 1}) {
    const std::vector<double> own = MidRanks(scores, members[kind]);
    const double others = static_cast<double>(members[1 - kind].size());
    for (size_t k = 0; k < own.size(); ++k) {
      const size_t i = members[kind][k];
      const double below = (ranks[i] - own[k]) / others;
      placement[i] = kind == 1 ? below : 1 - below;
    }
  }
  Auc auc;
  for (size_t i : members[1]) auc.value += placement[i];
  auc.value /= static_cast<double>(members[1].size());
  if (members[0].size() < 2 || members[1].size() < 2) return auc;
  auc.influence.resize(scores.size());
  for (int kind : {0, 1}) {
    const double m = static_cast<double>(members[kind].size());
    for (size_t i : members[kind]) {
      auc.influence[i] = (placement[i] - auc.value) / std::sqrt(m * (m - 1));
    }
  }
  return auc;
}

std::optional<Interval> AucInterval(double auc, double variance) {
  if (!(auc > 0 && auc < 1) || !(variance > 0)) return std::nullopt;
  const double centre = std::log(auc / (1 - auc));
  const double half = kNormal975 * std::sqrt(variance) / (auc * (1 - auc));
  const auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  return Interval{logistic(centre - half), logistic(centre + half)};
}

std::map<std::string, double> SiteMetrics(const Predictions& predictions,
                                          const std::string& prefix) {
  std::map<std::string, double> metrics;
  const double n = static_cast<double>(predictions.count());
  if (predictions.count() == 0) return metrics;
  metrics[prefix + "n"] = n;
  metrics[prefix + "loss"] = std::accumulate(predictions.losses.begin(),
                                             predictions.losses.end(), 0.0) /
                             n;
  const Confusion confusion = Count(predictions);
  double right = 0, recalls = 0;
  int present = 0;
  for (int c = 0; c < predictions.classes; ++c) {
    right += confusion.right[c];
    if (confusion.total[c] == 0) continue;
    recalls += confusion.right[c] / confusion.total[c];
    ++present;
  }
  metrics[prefix + "accuracy"] = right / n;
  // With one class only it would just be the accuracy under another name.
  if (present > 1) metrics[prefix + "balanced_accuracy"] = recalls / present;
  AddAuc(predictions, prefix, metrics);
  return metrics;
}

std::vector<double> EvaluationSums(const Predictions& predictions) {
  const EvaluationLayout layout(predictions.classes);
  std::vector<double> sums(layout.Count());
  for (size_t i = 0; i < predictions.count(); ++i) {
    AddRecord(layout, predictions.Row(i), predictions.labels[i],
              predictions.losses[i], absl::MakeSpan(sums));
  }
  return sums;
}

}  // namespace fedgraft
