#include "client/policy/policy_config.h"

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
  policy.exact_statistics = config.exact_statistics() != "refuse";
  policy.require_secure_aggregation =
      config.secure_aggregation() == "required";
  for (const std::string& hex : config.plans()) {
    auto digest = Digest::FromHex(hex);
    if (!digest.ok()) return Annotate(digest.status(), "policy.plans");
    policy.plans.insert(*digest);
  }
  return policy;
}

}  // namespace fedgraft
