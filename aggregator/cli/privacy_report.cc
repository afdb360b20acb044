#include "aggregator/cli/privacy_report.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/privacy/epsilon.h"
#include "common/privacy/release_cost.h"

namespace fedgraft {
namespace {

constexpr uint64_t kUsualSizes[] = {100, 300, 1000, 3000, 10000};

// 1, 2, 5, 10, 20, 50 … and the last.
std::vector<int> RoundsShown(int rounds) {
  std::vector<int> shown;
  for (int decade = 1; decade < rounds; decade *= 10) {
    for (const int step : {1, 2, 5}) {
      if (decade * step < rounds) shown.push_back(decade * step);
    }
  }
  shown.push_back(rounds);
  return shown;
}

double EpsilonAfter(const ReleaseCost& cost, int rounds, double delta) {
  return TotalEpsilon({{cost, static_cast<double>(rounds)}}, delta).epsilon;
}

std::string NotCovered(const Plan& plan) {
  std::string text =
      "not covered: that a site takes part, and its number of training "
      "images.\n"
      "not covered: numbers of its own that a site lets out "
      "(policy.share_site_scalars at the site).\n";
  if (plan.evaluation.every >= 0) {
    absl::StrAppend(&text,
                    "not covered: evaluation, whose counts and histograms on "
                    "validation and test images are exact (evaluation.every: "
                    "-1 leaves it out).\n");
  }
  return text;
}

absl::StatusOr<std::string> RecordTable(const Plan& plan, uint64_t records,
                                        double target) {
  const double delta = plan.differential_privacy.delta;
  FG_ASSIGN_OR_RETURN(const ReleaseCost cost,
                      CostOfRound(plan, records, 0, Observer::kAggregator));
  std::string text = absl::StrFormat(
      "site of %d training records: %.0f steps a round, each record in each "
      "with probability %.4g\n  rounds   epsilon\n",
      records, cost.steps, cost.rate);
  for (const int rounds : RoundsShown(plan.rounds)) {
    absl::StrAppendFormat(&text, "%8d  %8.4g\n", rounds,
                          EpsilonAfter(cost, rounds, delta));
  }
  if (target > 0) {
    FG_ASSIGN_OR_RETURN(
        const double noise,
        NoiseMultiplierFor(target, delta, cost.rate,
                           std::max(1.0, cost.steps * plan.rounds)));
    absl::StrAppendFormat(&text, "for epsilon %g: noise_multiplier %.4f\n",
                          target, std::ceil(noise * 1e4) / 1e4);
  }
  return text;
}

absl::StatusOr<std::string> RecordReport(const Plan& plan,
                                         const PrivacyQuestion& question) {
  std::string text;
  if (question.records > 0) {
    FG_ASSIGN_OR_RETURN(text,
                        RecordTable(plan, question.records, question.target));
  } else {
    absl::StrAppendFormat(&text,
                          "whole run of %d rounds, by a site's training "
                          "records (--records for one)\n records   epsilon\n",
                          plan.rounds);
    for (const uint64_t records : kUsualSizes) {
      FG_ASSIGN_OR_RETURN(const ReleaseCost cost,
                          CostOfRound(plan, records, 0, Observer::kAggregator));
      absl::StrAppendFormat(
          &text, "%8d  %8.4g\n", records,
          EpsilonAfter(cost, plan.rounds, plan.differential_privacy.delta));
    }
  }
  return absl::StrCat(
      text,
      "holds for each training record, against everybody but its own site: the "
      "noise is in the site's update.\n");
}

absl::StatusOr<std::string> SiteReport(const Plan& plan,
                                       const PrivacyQuestion& question) {
  if (question.parameters < 1) {
    return absl::InvalidArgumentError(
        "site privacy depends on the size of the trainable set; expected "
        "--backbone");
  }
  FG_ASSIGN_OR_RETURN(
      const ReleaseCost apart,
      CostOfRound(plan, 0, question.parameters, Observer::kAggregator));
  FG_ASSIGN_OR_RETURN(
      const ReleaseCost summed,
      CostOfRound(plan, 0, question.parameters, Observer::kPublic));
  std::string text = absl::StrFormat(
      "%8s  %20s  %20s\n%8s  %20s  %20s\n", "rounds", "epsilon against",
      "epsilon against", "", "the aggregator", "who sees models");
  const double delta = plan.differential_privacy.delta;
  for (const int rounds : RoundsShown(plan.rounds)) {
    absl::StrAppendFormat(&text, "%8d  %20.4g  %20.4g\n", rounds,
                          EpsilonAfter(apart, rounds, delta),
                          EpsilonAfter(summed, rounds, delta));
  }
  absl::StrAppend(&text,
                  "holds for each site as a whole: its update is there, or "
                  "zeros are.\n",
                  plan.secure_aggregation.is_on
                      ? "the aggregator sees sums of at least a quorum alone "
                        "(secure aggregation is on).\n"
                  : plan.secure_aggregation.mode == SecureMode::kAuto
                      ? "the aggregator sees each site's update with that "
                        "site's share of the noise alone, unless the run's "
                        "sites have pinned a roster (secure aggregation is "
                        "auto; on would count sums).\n"
                      : "the aggregator sees each site's update with that "
                        "site's share of the noise alone (secure aggregation "
                        "is off).\n",
                  "who sees sums or models must not know the other sites' "
                  "noise.\n");
  if (question.target > 0) {
    const bool is_on = plan.secure_aggregation.is_on;
    FG_ASSIGN_OR_RETURN(double noise,
                        NoiseMultiplierFor(question.target, delta, 1,
                                           std::max(1.0, double(plan.rounds))));
    if (!is_on) noise *= std::sqrt(static_cast<double>(plan.quorum));
    absl::StrAppendFormat(&text,
                          "for epsilon %g against the aggregator: "
                          "noise_multiplier %.4f, and a little more for the "
                          "grid\n",
                          question.target, std::ceil(noise * 1e4) / 1e4);
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> PrivacyReport(const Plan& plan,
                                          const PrivacyQuestion& question) {
  const DifferentialPrivacySpec& privacy = plan.differential_privacy;
  if (privacy.kind == DifferentialPrivacy::kNone) {
    return absl::InvalidArgumentError(
        "the plan has no differential privacy (differential_privacy.kind: "
        "none): nothing it lets out has an epsilon");
  }
  const bool is_record = privacy.kind == DifferentialPrivacy::kRecord;
  FG_ASSIGN_OR_RETURN(
      const std::string table,
      is_record ? RecordReport(plan, question) : SiteReport(plan, question));
  return absl::StrFormat(
      "plan \"%s\": %s privacy, noise multiplier %g, clip norm %g, delta %g\n"
      "%s%s",
      plan.name, is_record ? "record" : "site", privacy.noise_multiplier,
      is_record ? privacy.record_clip_norm : plan.update.clip_norm,
      privacy.delta, table, NotCovered(plan));
}

}  // namespace fedgraft
