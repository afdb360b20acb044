#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "aggregator/rules/fed_avg.h"
#include "aggregator/rules/rule.h"

namespace fedgraft {
namespace {

// A new rule: its word in proto/plan.proto, its file, one line here.
constexpr RuleEntry kRules[] = {
    {"fed_avg",
     [](const Plan& plan) -> std::unique_ptr<AggregationRule> {
       return std::make_unique<FedAvg>(plan.rule.server_learning_rate);
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

}  // namespace fedgraft
