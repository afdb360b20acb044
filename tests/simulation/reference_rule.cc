#include "tests/simulation/reference_rule.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "common/model/control_variates.h"

namespace fedgraft::testing {
namespace {

using Plain = std::vector<std::vector<double>>;

Plain WithoutWeights(const std::vector<WeightedUpdate>& updates) {
  Plain plain;
  for (const WeightedUpdate& update : updates) {
    plain.push_back(update.values);
    for (double& value : plain.back()) value /= update.weight;
  }
  return plain;
}

// Per value the mean of what is left when `cut` are cut at each end.
std::vector<double> Trimmed(const Plain& updates, size_t cut) {
  std::vector<double> result(updates[0].size());
  for (size_t i = 0; i < result.size(); ++i) {
    std::vector<double> column;
    for (const auto& update : updates) column.push_back(update[i]);
    std::sort(column.begin(), column.end());
    column = {column.begin() + static_cast<ptrdiff_t>(cut),
              column.end() - static_cast<ptrdiff_t>(cut)};
    result[i] = std::accumulate(column.begin(), column.end(), 0.0) /
                static_cast<double>(column.size());
  }
  return result;
}

Plain Closest(const Plain& updates, size_t byzantine, size_t selected) {
  std::vector<std::pair<double, size_t>> scores;
  for (size_t a = 0; a < updates.size(); ++a) {
    std::vector<double> distances;
    for (size_t b = 0; b < updates.size(); ++b) {
      double sum = 0;
      for (size_t i = 0; i < updates[a].size(); ++i) {
        sum += std::pow(updates[a][i] - updates[b][i], 2);
      }
      if (a != b) distances.push_back(sum);
    }
    std::sort(distances.begin(), distances.end());
    distances.resize(updates.size() - byzantine - 2);
    scores.emplace_back(
        std::accumulate(distances.begin(), distances.end(), 0.0), a);
  }
  std::sort(scores.begin(), scores.end());
  Plain closest;
  for (size_t k = 0; k < selected; ++k) {
    closest.push_back(updates[scores[k].second]);
  }
  return closest;
}

}  // namespace

std::vector<double> ReferenceRule::Combine(
    const std::vector<WeightedUpdate>& updates) const {
  const size_t sites = updates.size();
  const auto byzantine = static_cast<size_t>(rule_.byzantine_max);
  if (rule_.kind == "median") {
    return Trimmed(WithoutWeights(updates), (sites - 1) / 2);
  }
  if (rule_.kind == "trimmed_mean") {
    const double cut = rule_.trim_fraction * static_cast<double>(sites);
    return Trimmed(WithoutWeights(updates), static_cast<size_t>(cut + 1e-9));
  }
  if (rule_.kind == "krum") {
    return Trimmed(Closest(WithoutWeights(updates), byzantine, 1), 0);
  }
  if (rule_.kind == "multi_krum") {
    const size_t selected = rule_.selected > 0
                                ? static_cast<size_t>(rule_.selected)
                                : sites - byzantine;
    return Trimmed(Closest(WithoutWeights(updates), byzantine, selected), 0);
  }
  std::vector<double> mean(updates[0].values.size(), 0);
  double weight = 0;
  for (const WeightedUpdate& update : updates) {
    weight += update.weight;
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += update.values[i];
  }
  for (double& value : mean) value /= weight;
  return mean;
}

double ReferenceRule::Step(size_t i, double delta) {
  const double rate = rule_.server_learning_rate;
  if (rule_.kind == "fed_avgm") {
    double& v = state_[0][i];
    v = rule_.momentum * v + delta;
    return rate * v;
  }
  if (rule_.kind == "fed_adagrad") {
    double& v = state_[0][i];
    v += delta * delta;
    return rate * delta / (std::sqrt(v) + rule_.tau);
  }
  if (rule_.kind == "fed_adam" || rule_.kind == "fed_yogi") {
    double &m = state_[0][i], &v = state_[1][i];
    m += (1 - rule_.beta1) * (delta - m);
    const double gap = delta * delta - v;
    if (rule_.kind == "fed_adam") {
      v += (1 - rule_.beta2) * gap;
    } else if (gap != 0) {
      v += (1 - rule_.beta2) * delta * delta * (gap > 0 ? 1 : -1);
    }
    return rate * m / (std::sqrt(v) + rule_.tau);
  }
  if (rule_.kind == "fed_nova") return rate * mean_steps_ * delta;
  return rate * delta;
}

std::vector<double> ReferenceRule::Next(
    const ParameterLayout& layout, const ParameterVector& previous,
    const std::vector<WeightedUpdate>& updates, size_t sites) {
  const bool one_slot = rule_.kind == "fed_avgm" || rule_.kind == "fed_adagrad";
  const bool two_slots = rule_.kind == "fed_adam" || rule_.kind == "fed_yogi";
  state_.resize(one_slot    ? 1
                : two_slots ? 2
                            : 0,
                std::vector<double>(previous.size(), 0));
  std::vector<double> next = Combine(updates);
  double steps = 0, weight = 0;
  for (const WeightedUpdate& update : updates) {
    steps += update.steps;
    weight += update.weight;
  }
  mean_steps_ = steps / weight;
  control_sums_.resize(previous.size(), 0);
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const bool is_weight = layout.tensors()[t].kind == TensorKind::kWeight;
    const auto begin = static_cast<size_t>(layout.Offset(t));
    const auto count = static_cast<size_t>(layout.tensors()[t].Count());
    const bool is_control =
        layout.tensors()[t].name.starts_with(kControlVariatePrefix);
    for (size_t i = begin; is_control && i < begin + count; ++i) {
      for (const WeightedUpdate& one : updates) {
        control_sums_[i] += one.values[i];
      }
      next[i] = control_sums_[i] / static_cast<double>(sites);
    }
    for (size_t i = begin; !is_control && i < begin + count; ++i) {
      next[i] = previous[i] + (is_weight ? Step(i, next[i]) : next[i]);
    }
  }
  return next;
}

double ReferenceSteps(uint64_t images) {
  uint64_t batches = images / 32;
  if (images % 32 > 1 || batches == 0) ++batches;
  double velocity = 0, moved = 0;
  for (uint64_t step = 0; step < batches; ++step) {
    velocity = 0.9 * velocity + 1;
    moved += velocity;
  }
  return moved;
}

std::string RuleKeys(int quorum, uint64_t draw) {
  const char* on_sums[] = {
      "kind: fed_avgm",
      "kind: fed_adagrad, server_learning_rate: 0.1",
      "kind: fed_adam, server_learning_rate: 0.1",
      "kind: fed_yogi, server_learning_rate: 0.1",
      "kind: fed_nova",
      "kind: scaffold",
  };
  const char* robust[] = {
      "kind: median",
      "kind: trimmed_mean, trim_fraction: 0.34",
      "kind: krum, byzantine_max: 0",
      "kind: multi_krum, byzantine_max: 0, selected: 2",
  };
  const uint64_t sums = std::size(on_sums);
  if (quorum >= 5 && draw % 8 == 0) return "kind: krum, byzantine_max: 1";
  draw %= quorum >= 3 ? sums + std::size(robust) : sums;
  return draw < sums ? on_sums[draw] : robust[draw - sums];
}

}  // namespace fedgraft::testing
