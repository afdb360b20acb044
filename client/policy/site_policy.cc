#include "client/policy/site_policy.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/config/plan_checks_secure.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

constexpr size_t kScalarNameMax = 64;

absl::Status Denied(const char* key, const std::string& wanted,
                    const std::string& allowed) {
  return absl::PermissionDeniedError(
      absl::StrCat("policy.", key, ": the plan wants ", wanted,
                   ", this site allows ", allowed));
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= kScalarNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '.' || c == '-';
         });
}

}  // namespace

const char* StrategyName(StrategyKind kind) {
  switch (kind) {
    case StrategyKind::kLinearProbe:
      return "linear_probe";
    case StrategyKind::kFeatureExtraction:
      return "feature_extraction";
    case StrategyKind::kAdapter:
      return "adapter";
    case StrategyKind::kPartial:
      return "partial";
    case StrategyKind::kFull:
      return "full";
  }
  return "unknown";
}

bool DemandsMasks(const SitePolicy& policy, bool has_roster) {
  return policy.secure_aggregation == MaskPolicy::kRequired ||
         (policy.secure_aggregation == MaskPolicy::kAuto && has_roster);
}

absl::Status CheckPlan(const SitePolicy& policy, const Plan& plan,
                       bool has_roster) {
  if (!policy.plans.empty() && policy.plans.count(plan.hash) == 0) {
    return Denied(
        "plans", absl::StrCat("to be run under hash ", plan.hash.Hex()),
        absl::StrCat("only the ", policy.plans.size(), " listed plan hashes"));
  }
  if (!policy.strategies.empty() &&
      policy.strategies.count(plan.strategy) == 0) {
    std::vector<std::string> names;
    for (StrategyKind kind : policy.strategies) {
      names.push_back(StrategyName(kind));
    }
    return Denied("strategies", StrategyName(plan.strategy),
                  absl::StrJoin(names, ", "));
  }
  const bool solves = plan.solver.kind != SolverKind::kNone;
  if (solves && !policy.exact_statistics) {
    return Denied("exact_statistics", "exact sums of features for its solver",
                  "none");
  }
  if (policy.budget.epsilon_max > 0 &&
      plan.differential_privacy.kind == DifferentialPrivacy::kNone) {
    return Denied("epsilon_max", "to train without differential privacy",
                  absl::StrCat("only updates that a budget of epsilon ",
                               policy.budget.epsilon_max, " can count"));
  }
  const bool looks = plan.shift.every > 0;
  if (looks && !policy.exact_statistics) {
    return Denied("exact_statistics",
                  "exact sums of features to track shift (shift.every)",
                  "none");
  }
  const std::string statistics = AskedStatistics(plan);
  if (!statistics.empty() && !policy.exact_statistics) {
    return Denied(
        "exact_statistics",
        absl::StrCat("exact sums before it trains (", statistics, ")"), "none");
  }
  const int rounds = plan.rounds + (solves ? plan.solver.rounds_max : 0) +
                     (statistics.empty() ? 0 : 1);
  if (rounds > policy.rounds_max) {
    return Denied("rounds_max", absl::StrCat("up to ", rounds, " rounds"),
                  absl::StrCat("at most ", policy.rounds_max));
  }
  if (DemandsMasks(policy, has_roster)) {
    const std::string never =
        plan.secure_aggregation.mode == SecureMode::kOff ? "mode off"
        : plan.secure_aggregation.is_on                  ? ""
                                                         : WhyNeverMasked(plan);
    if (!never.empty()) {
      return Denied("secure_aggregation",
                    absl::StrCat("each site's update to be opened by the "
                                 "aggregator (",
                                 never, ")"),
                    absl::StrCat("sums of masked updates only",
                                 policy.secure_aggregation == MaskPolicy::kAuto
                                     ? ", for a roster is pinned here; "
                                       "optional would allow both"
                                     : ""));
    }
  }
  if (plan.quorum < policy.cohort_min) {
    return Denied("cohort_min",
                  absl::StrCat("a quorum of ", plan.quorum, " sites"),
                  absl::StrCat("no fewer than ", policy.cohort_min));
  }
  return absl::OkStatus();
}

absl::Status CheckSamples(const SitePolicy& policy, uint64_t train_samples) {
  if (train_samples >= policy.samples_min) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("policy.samples_min: this site has ", train_samples,
                   " training images and takes part only with at least ",
                   policy.samples_min));
}

std::map<std::string, double> FilterScalars(
    const SitePolicy& policy, const std::map<std::string, double>& scalars) {
  std::map<std::string, double> shared;
  if (!policy.share_site_scalars) return shared;
  for (const auto& [name, value] : scalars) {
    if (shared.size() == kSharedScalarsMax) break;
    if (std::isfinite(value) && IsPlainName(name)) shared.emplace(name, value);
  }
  return shared;
}

}  // namespace fedgraft
