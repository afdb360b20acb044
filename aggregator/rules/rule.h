#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/config/plan.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {

// A piece of the trainable set that is reduced alone.
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
};

// Combines contributions into the next global values.
//
// A rule is a pure function of one shard: it sees no other shard and keeps
// nothing between calls, so that the result depends neither on the shard size
// nor on threads, order or a crash in between. Immutable; thread-safe.
class AggregationRule {
 public:
  virtual ~AggregationRule() = default;
  // The word for it in a plan.
  virtual absl::string_view Name() const = 0;
  // Writes next[i] for every word. INVALID_ARGUMENT, with `next` untouched:
  // sizes that differ, no contribution, or no weight.
  virtual absl::Status Apply(const ShardSum& sum,
                             absl::Span<float> next) const = 0;
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

}  // namespace fedgraft
