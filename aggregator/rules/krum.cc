#include "aggregator/rules/krum.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/shard_checks.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"

namespace fedgraft {
namespace {

double ScoreOf(const DistanceMatrix& distances, size_t update,
               size_t neighbours) {
  std::vector<double> others;
  for (size_t k = 0; k < distances.size(); ++k) {
    if (k != update) others.push_back(distances.Squared(update, k));
  }
  std::sort(others.begin(), others.end());
  return std::accumulate(
      others.begin(), others.begin() + static_cast<ptrdiff_t>(neighbours), 0.0);
}

}  // namespace

absl::StatusOr<std::vector<size_t>> Krum::Select(
    const DistanceMatrix& distances) const {
  const size_t updates = distances.size();
  if (updates < KrumUpdatesMin(byzantine_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name_, ": expected at least ", KrumUpdatesMin(byzantine_),
        " updates, of which ", byzantine_, " may be hostile, got ", updates));
  }
  const size_t count = selected_ > 0 ? selected_ : updates - byzantine_;
  if (count > updates) {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": expected at least the ", count,
                     " updates that are selected, got ", updates));
  }
  std::vector<double> scores(updates);
  for (size_t k = 0; k < updates; ++k) {
    scores[k] = ScoreOf(distances, k, updates - byzantine_ - 2);
  }
  std::vector<size_t> order(updates);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

absl::Status Krum::Apply(const ShardUpdates& shard, absl::Span<float> next,
                         absl::Span<uint64_t> kept) const {
  FG_RETURN_IF_ERROR(CheckShard(Name(), shard, 1, next, kept));
  const double factor =
      server_learning_rate_ / static_cast<double>(shard.updates.size());
  for (size_t i = 0; i < next.size(); ++i) {
    double sum = 0;
    for (const absl::Span<const double> update : shard.updates) {
      sum += update[i];
    }
    next[i] = static_cast<float>(shard.previous[i] + factor * sum);
  }
  for (uint64_t& count : kept) count += next.size();
  return absl::OkStatus();
}

}  // namespace fedgraft
