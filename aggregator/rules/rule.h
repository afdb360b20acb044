#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "aggregator/rules/distances.h"
#include "common/config/plan.h"
#include "common/numeric/ring_codec.h"

// How contributions become the next global values. Two sorts: rules that need
// the exact sum alone (SumRule), and those that look at single updates
// (RobustRule). Both work on one shard, a piece of the trainable set, and keep
// nothing between calls, so that the result depends neither on the shard size
// nor on threads, order or a crash in between. Immutable; thread-safe.

namespace fedgraft {

class SumRule;
class RobustRule;

class AggregationRule {
 public:
  virtual ~AggregationRule() = default;
  // The word for it in a plan.
  virtual absl::string_view Name() const = 0;
  // Exactly one of the two is not null.
  virtual const SumRule* AsSum() const { return nullptr; }
  virtual const RobustRule* AsRobust() const { return nullptr; }
};

struct ShardSum {
  RingSpec ring;
  // Exact sum of the contributions' words, modulo 2^64: the bits above the
  // ring's are carry and mean nothing.
  absl::Span<const uint64_t> words;
  // Sum of the contributions' weight words (kWeightFractionBits).
  uint64_t total_weight_word = 0;
  int contributions = 0;
  // The global values before this round, one per word. BatchNorm variances are
  // second moments on both sides (ToMoments): that is the caller's affair.
  absl::Span<const float> previous;
  // The rule's memory from round to round: StateSlots() spans of one value per
  // word, updated in place; zeros before the first round.
  absl::Span<const absl::Span<float>> state = {};
  // Sums of the words that travel behind the parameters (ExtraWords of
  // common/config/rule_facts.h), the same in every shard.
  absl::Span<const uint64_t> scalars = {};
};

// A rule that is linear in what the sites send, up to what it makes of the sum.
class SumRule : public AggregationRule {
 public:
  const SumRule* AsSum() const final { return this; }
  // Values that it remembers per parameter.
  virtual int StateSlots() const { return 0; }
  // Writes next[i] for every word. INVALID_ARGUMENT, with `next` and the state
  // untouched: sizes that differ, no contribution, or no weight.
  virtual absl::Status Apply(const ShardSum& sum,
                             absl::Span<float> next) const = 0;
};

struct ShardUpdates {
  // One per contribution (or group of them), in canonical order, each of one
  // value per parameter: the update as the site computed it, without weight.
  absl::Span<const absl::Span<const double>> updates;
  absl::Span<const float> previous;  // as in ShardSum
};

// A rule that single wrong updates cannot move far. All updates count alike,
// whatever the number of images behind them: a weight is what a hostile site
// would lie about.
class RobustRule : public AggregationRule {
 public:
  const RobustRule* AsRobust() const final { return this; }
  // Whether Select must be asked which updates Apply is to see.
  virtual bool Selects() const { return false; }
  // Which updates count, ascending. REQUIRES: Selects(). INVALID_ARGUMENT: too
  // few updates.
  virtual absl::StatusOr<std::vector<size_t>> Select(
      const DistanceMatrix&) const {
    return absl::InternalError("this rule takes all updates");
  }
  // Writes next[i] for every parameter and adds to kept[k] at how many of them
  // update k had a part in it. INVALID_ARGUMENT, with both untouched: sizes
  // that differ, or too few updates.
  virtual absl::Status Apply(const ShardUpdates& shard, absl::Span<float> next,
                             absl::Span<uint64_t> kept) const = 0;
};

// One line of the registry.
struct RuleEntry {
  absl::string_view name;
  std::unique_ptr<AggregationRule> (*make)(const Plan& plan);
};
// Every rule there is; tests/rules runs its conformance suite over them.
absl::Span<const RuleEntry> AllRules();

// The plan's rule. INVALID_ARGUMENT naming the known ones.
absl::StatusOr<std::unique_ptr<AggregationRule>> MakeRule(const Plan& plan);
// The rule for BatchNorm statistics, which are means over records and no
// parameters: without the server's learning rate and without memory.
absl::StatusOr<std::unique_ptr<AggregationRule>> MakeStatisticsRule(
    const Plan& plan);

}  // namespace fedgraft
