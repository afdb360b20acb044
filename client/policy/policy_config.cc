#include "client/policy/policy_config.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

absl::StatusOr<StrategyKind> ParseStrategy(const std::string& name) {
  for (StrategyKind kind :
       {StrategyKind::kLinearProbe, StrategyKind::kFeatureExtraction,
        StrategyKind::kPartial, StrategyKind::kFull, StrategyKind::kAdapter}) {
    if (name == StrategyName(kind)) return kind;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "policy.strategies: '", name,
      "' is none of linear_probe, feature_extraction, partial, full, adapter"));
}

absl::StatusOr<int64_t> Positive(const char* key, int64_t value,
                                 int64_t default_value) {
  if (value == 0) return default_value;
  if (value > 0) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("policy.", key, ": ", value, " is not positive"));
}

// The name becomes a file's.
bool IsDataSetName(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-';
         });
}

absl::StatusOr<PrivacyBudget> BudgetFromConfig(const pb::PolicyConfig& config) {
  PrivacyBudget budget;
  if (config.delta() != 0) budget.delta = config.delta();
  if (!config.data_set().empty()) budget.data_set = config.data_set();
  budget.epsilon_max = config.epsilon_max();
  if (!(budget.epsilon_max >= 0) || !std::isfinite(budget.epsilon_max)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy.epsilon_max: ", budget.epsilon_max, " is not 0 or more"));
  }
  if (!(budget.delta > 0 && budget.delta < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "policy.delta: ", budget.delta, " is not between 0 and 1"));
  }
  if (!IsDataSetName(budget.data_set)) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy.data_set: '", budget.data_set,
                     "' is not 1 to 64 of a-z, 0-9, '_' and '-'"));
  }
  return budget;
}

}  // namespace

absl::StatusOr<SitePolicy> PolicyFromConfig(const pb::PolicyConfig& config) {
  SitePolicy policy;
  for (const std::string& name : config.strategies()) {
    FG_ASSIGN_OR_RETURN(const StrategyKind kind, ParseStrategy(name));
    policy.strategies.insert(kind);
  }
  FG_ASSIGN_OR_RETURN(
      policy.rounds_max,
      Positive("rounds_max", config.rounds_max(), policy.rounds_max));
  FG_ASSIGN_OR_RETURN(
      policy.cohort_min,
      Positive("cohort_min", config.cohort_min(), policy.cohort_min));
  FG_ASSIGN_OR_RETURN(policy.samples_min,
                      Positive("samples_min", config.samples_min(),
                               static_cast<int64_t>(policy.samples_min)));
  policy.share_site_scalars = config.share_site_scalars();
  policy.share_devices = config.share_devices();
  policy.exact_statistics = config.exact_statistics() != "refuse";
  FG_ASSIGN_OR_RETURN(policy.budget, BudgetFromConfig(config));
  if (config.secure_aggregation() == "required") {
    policy.secure_aggregation = MaskPolicy::kRequired;
  } else if (config.secure_aggregation() == "optional") {
    policy.secure_aggregation = MaskPolicy::kOptional;
  }
  for (const std::string& hex : config.plans()) {
    auto digest = Digest::FromHex(hex);
    if (!digest.ok()) return Annotate(digest.status(), "policy.plans");
    policy.plans.insert(*digest);
  }
  return policy;
}

}  // namespace fedgraft
