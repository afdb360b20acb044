#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "aggregator/rules/rule_pass.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/config/rule_facts.h"
#include "common/model/parameter_layout.h"

namespace fedgraft::testing {

// How the shards of a reduce come to the rule.
struct ShardOrder {
  size_t words = 1000000;  // per shard
  bool backwards = false;
  int threads = 1;
};

// A round at the level of ring words: sites quantise their updates as the
// client does, and the plan's rule takes them shard by shard.
class RuleBench {
 public:
  RuleBench(const Plan& plan, ParameterLayout layout);
  // Weights only, of this many values.
  RuleBench(const Plan& plan, size_t count);

  // In the order of arrival.
  void Add(std::string_view site, const std::vector<float>& update,
           double weight = 1) {
    AddWords(
        site, update, weight,
        std::vector<float>(static_cast<size_t>(ExtraWords(plan_.rule)), 1));
  }
  // `extra`: what travels behind the parameters.
  void AddWords(std::string_view site, std::vector<float> update, double weight,
                const std::vector<float>& extra);
  void Clear() { contributions_.clear(); }
  // Of the run; by default as the plan expects them.
  void SetSites(RuleSites sites) { sites_ = sites; }

  struct Result {
    std::vector<float> next;
    Bytes state;  // empty: the rule has none
    std::map<SiteId, double> influence;
  };
  absl::StatusOr<Result> Reduce(const std::vector<float>& previous,
                                ByteSpan state = {},
                                const ShardOrder& order = {}) const;

  const RingSpec& ring() const { return ring_; }

 private:
  struct Contribution {
    SiteId site;
    std::vector<uint64_t> words;
    uint64_t weight_word = 0;
  };

  const Plan plan_;
  const ParameterLayout layout_;
  const RingSpec ring_;
  RuleSites sites_;
  std::vector<Contribution> contributions_;
};

// A plan with this rule for so many sites; all other keys at their defaults.
Plan PlanOf(absl::string_view rule, int sites);

}  // namespace fedgraft::testing
