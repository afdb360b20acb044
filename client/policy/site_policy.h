#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/base/digest.h"
#include "common/config/plan.h"

// What a site allows. Written by the hospital, enforced here, never by the
// aggregator. Pure functions of the policy and what it is asked about.

namespace fedgraft {

// What all updates with differential privacy together may tell of one data set.
struct PrivacyBudget {
  double epsilon_max = 0;  // 0: no limit, though it is counted
  double delta = 1e-5;
  std::string data_set = "default";  // a-z, 0-9, '_', '-'
};

// When only masked updates leave. kAuto: once people here have pinned a roster.
enum class MaskPolicy { kAuto, kOptional, kRequired };

// The `policy` part of the client's configuration; see proto/config.proto.
struct SitePolicy {
  std::set<StrategyKind> strategies;  // empty: all
  int rounds_max = 1000;
  int cohort_min = 3;
  bool share_site_scalars = false;
  bool share_devices = false;  // scanners are counted in sketches
  std::set<Digest> plans;      // empty: any that the rest allows
  uint64_t samples_min = 10;
  bool exact_statistics = true;  // plans that solve, or gather statistics
  PrivacyBudget budget;
  MaskPolicy secure_aggregation = MaskPolicy::kAuto;
};

// Whether this site lets out sums of masked updates only. An aggregator cannot
// talk it out of that: `has_roster` is what people here have confirmed.
bool DemandsMasks(const SitePolicy& policy, bool has_roster);

// PERMISSION_DENIED naming the policy key, what the plan wants and what is
// allowed: plan not on the list, strategy, exact sums, no differential privacy
// where there is a budget, rounds, no masks where they are demanded, or a
// quorum below the smallest cohort.
absl::Status CheckPlan(const SitePolicy& policy, const Plan& plan,
                       bool has_roster = false);
// PERMISSION_DENIED if the site has fewer training images than `samples_min`.
absl::Status CheckSamples(const SitePolicy& policy, uint64_t train_samples);

// What of `scalars` may leave: nothing unless `share_site_scalars`; then only
// finite numbers under plain names (a–z, 0–9, '_', '.', '-'; at most 64
// characters) and at most kSharedScalarsMax of them, so that the channel stays
// one for metrics: a network of sixty blocks has up to six for each.
inline constexpr size_t kSharedScalarsMax = 512;
std::map<std::string, double> FilterScalars(
    const SitePolicy& policy, const std::map<std::string, double>& scalars);

// The word for it in a plan.
const char* StrategyName(StrategyKind kind);

}  // namespace fedgraft
