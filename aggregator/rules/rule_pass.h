#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "aggregator/rules/distances.h"
#include "aggregator/rules/rule.h"
#include "aggregator/rules/rule_state.h"
#include "aggregator/rules/scaffold.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {

// Sites of the run before this round of training and with it, whether they
// contribute to it or not: as many as the plan expects, or as have contributed
// up to now, if they are more. Who only joins changes nothing.
struct RuleSites {
  int before = 0;
  int now = 0;
};

// What a rule must know of a round's contributions besides their words.
struct RuleRound {
  RoundId round;
  RingSpec ring;
  int max_terms = 1;          // of the ring's headroom
  std::vector<SiteId> sites;  // canonical order
  std::vector<uint64_t> weight_words;
  RuleSites of_run;  // for control variates
  // Set if the words are masked: single weights mean nothing then, and this is
  // their sum.
  std::optional<uint64_t> total_weight_word = std::nullopt;
};

// The plan's rule over one round. The caller brings the shards:
//   a rule on sums:     ApplySums per shard
//   a rule on updates:  if Selects(), Measure per shard, then Select;
//                       ApplyWords per shard, with the words of members()
// BatchNorm statistics take the statistics rule (MakeStatisticsRule), control
// variates theirs (ControlVariateRule); neither has a part in the rule's state.
// ApplySums, Measure and ApplyWords: from several threads at once, on disjoint
// shards in any order; the results are the same.
class RulePass {
 public:
  // `state`: what the round before left; empty before the first one.
  // INVALID_ARGUMENT: too few contributions for the plan's rule; DATA_LOSS: the
  // state is not this rule's.
  static absl::StatusOr<std::shared_ptr<RulePass>> Create(
      const Plan& plan, const ParameterLayout& layout, RuleRound round,
      ByteSpan state);

  bool OnSums() const { return rule_->AsSum() != nullptr; }
  bool Selects() const {
    return rule_->AsRobust() != nullptr && rule_->AsRobust()->Selects();
  }

  // Words behind the parameters, no part of any shard here. If there are any,
  // their sums come first.
  int extra_words() const { return extra_words_; }
  void SetScalars(std::vector<uint64_t> sums) { scalars_ = std::move(sums); }
  // `values`: the shard's part of the model, next values in the place of the
  // previous ones.
  absl::Status ApplySums(uint64_t begin, absl::Span<const uint64_t> sums,
                         absl::Span<float> values);
  // words[k] is of contribution k.
  absl::Status Measure(absl::Span<const absl::Span<const uint64_t>> words);
  absl::Status Select();
  // Contributions that ApplyWords is to see, ascending.
  const std::vector<size_t>& members() const { return members_; }
  // words[k] is of contribution members()[k].
  absl::Status ApplyWords(uint64_t begin,
                          absl::Span<const absl::Span<const uint64_t>> words,
                          absl::Span<float> values);

  // After all shards. The state has no slots if the rule has no memory.
  RuleState& state() { return state_; }
  uint64_t total_weight_word() const { return total_weight_word_; }
  // Of a rule on updates: how large a part each site had in the result, where
  // 1 is an even share and 0 means that nothing of it was used.
  std::map<SiteId, double> Influence() const;

 private:
  // One update as the rule sees it: of one member or of a group.
  struct Part {
    std::vector<size_t> members;  // indices into members_
    double weight = 0;            // sum
  };
  struct Segment {
    uint64_t begin = 0, end = 0;
    const AggregationRule* rule = nullptr;
  };

  RulePass(RuleRound round, std::unique_ptr<AggregationRule> rule,
           std::unique_ptr<AggregationRule> statistics_rule)
      : round_(std::move(round)),
        rule_(std::move(rule)),
        statistics_rule_(std::move(statistics_rule)),
        control_rule_(round_.of_run.before, round_.of_run.now) {}
  void SetParts(const std::vector<std::vector<size_t>>& groups);
  // The parts of [begin, end) that one rule is for.
  std::vector<Segment> Split(uint64_t begin, uint64_t end) const;
  // Σ words of the part's members / Σ their weights.
  std::vector<std::vector<double>> Updates(
      absl::Span<const absl::Span<const uint64_t>> words) const;

  const RuleRound round_;
  const std::unique_ptr<AggregationRule> rule_, statistics_rule_;
  const ControlVariateRule control_rule_;
  // Of the layout, ascending: what is not for rule_.
  std::vector<Segment> others_;
  uint64_t total_weight_word_ = 0;
  int extra_words_ = 0;
  std::vector<uint64_t> scalars_;
  RuleState state_;
  std::vector<size_t> members_;
  std::vector<Part> parts_;
  double largest_ = 0;  // magnitude of an update's value

  mutable std::mutex mutex_;
  DistanceMatrix distances_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> kept_ ABSL_GUARDED_BY(mutex_);  // per part
};

}  // namespace fedgraft
