#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "aggregator/rules/fed_adagrad.h"
#include "aggregator/rules/fed_adam.h"
#include "aggregator/rules/fed_avg.h"
#include "aggregator/rules/fed_avgm.h"
#include "aggregator/rules/fed_nova.h"
#include "aggregator/rules/fed_yogi.h"
#include "aggregator/rules/krum.h"
#include "aggregator/rules/median.h"
#include "aggregator/rules/rule.h"
#include "aggregator/rules/scaffold.h"
#include "aggregator/rules/trimmed_mean.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

using Made = std::unique_ptr<AggregationRule>;

AdaptiveRates RatesOf(const RuleSpec& rule) {
  return {rule.server_learning_rate, rule.beta1, rule.beta2, rule.tau};
}

// A new rule: its word in proto/plan.proto, its file, one entry here, and what
// plans must know of it in common/config/rule_facts.h.
constexpr RuleEntry kRules[] = {
    {"fed_avg",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedAvg>(plan.rule.server_learning_rate);
     }},
    {"fed_avgm",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedAvgM>(plan.rule.server_learning_rate,
                                        plan.rule.momentum);
     }},
    {"fed_adagrad",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedAdagrad>(plan.rule.server_learning_rate,
                                           plan.rule.tau);
     }},
    {"fed_adam",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedAdam>(RatesOf(plan.rule));
     }},
    {"fed_yogi",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedYogi>(RatesOf(plan.rule));
     }},
    {"fed_nova",
     [](const Plan& plan) -> Made {
       return std::make_unique<FedNova>(plan.rule.server_learning_rate);
     }},
    {"scaffold",
     [](const Plan& plan) -> Made {
       return std::make_unique<Scaffold>(plan.rule.server_learning_rate);
     }},
    {"median",
     [](const Plan& plan) -> Made {
       return std::make_unique<Median>(plan.rule.server_learning_rate);
     }},
    {"trimmed_mean",
     [](const Plan& plan) -> Made {
       return std::make_unique<TrimmedMean>(plan.rule.server_learning_rate,
                                            plan.rule.trim_fraction);
     }},
    {"krum",
     [](const Plan& plan) -> Made {
       return std::make_unique<Krum>(
           "krum", plan.rule.server_learning_rate,
           static_cast<size_t>(plan.rule.byzantine_max), 1);
     }},
    {"multi_krum",
     [](const Plan& plan) -> Made {
       return std::make_unique<Krum>(
           "multi_krum", plan.rule.server_learning_rate,
           static_cast<size_t>(plan.rule.byzantine_max),
           static_cast<size_t>(plan.rule.selected));
     }},
};

}  // namespace

absl::Span<const RuleEntry> AllRules() { return kRules; }

absl::StatusOr<std::unique_ptr<AggregationRule>> MakeRule(const Plan& plan) {
  std::vector<std::string> names;
  for (const RuleEntry& entry : AllRules()) {
    if (entry.name == plan.rule.kind) return entry.make(plan);
    names.emplace_back(entry.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown rule \"", plan.rule.kind, "\"; known are ",
                   absl::StrJoin(names, ", ")));
}

absl::StatusOr<std::unique_ptr<AggregationRule>> MakeStatisticsRule(
    const Plan& plan) {
  Plan plain = plan;
  plain.rule.server_learning_rate = 1;
  FG_ASSIGN_OR_RETURN(Made rule, MakeRule(plain));
  if (rule->AsSum() != nullptr) rule = std::make_unique<FedAvg>(1);
  return rule;
}

}  // namespace fedgraft
