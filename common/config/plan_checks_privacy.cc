#include "common/config/plan_checks_privacy.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

// Noise this many standard deviations beyond the clip norm fits the range.
constexpr double kSigmasInRange = 10;

// What would tell of the training images without noise, whatever is protected.
void CheckExactStatistics(const Plan& plan, ConfigErrors& errors) {
  if (plan.solver.kind != SolverKind::kNone) {
    errors.Add("solver.kind",
               "found a solver, whose exact sums carry no noise, with "
               "differential privacy; expected none: train the head in rounds "
               "instead (strategy linear_probe, rounds 1 or more)");
  }
  if (plan.shift.every > 0) {
    errors.Add("shift.every",
               absl::StrCat("found ", plan.shift.every,
                            ", whose exact sums of features carry no noise, "
                            "with differential privacy; expected 0 (with noise "
                            "looks find no head to compare by, docs/shift.md; "
                            "fedgraft-client watch-data compares new images "
                            "at a site and sends nothing)"));
  }
  if (plan.evaluation.compare_local) {
    errors.Add("evaluation.compare_local",
               "found true, which reports models trained without noise, with "
               "differential privacy; expected false");
  }
  if (plan.evaluation.every >= 0 &&
      (plan.evaluation.split == Split::kTrain ||
       plan.evaluation.final_split == Split::kTrain)) {
    errors.Add("evaluation.split",
               "found train, whose metrics carry no noise, with differential "
               "privacy; expected val or test");
  }
  if (plan.personal.kind != PersonalKind::kNone) {
    errors.Add("personal.kind",
               "found a personal model, which is trained without noise and "
               "evaluated, with differential privacy; expected none");
  }
  if (plan.loss.class_weights == ClassWeights::kFederated) {
    errors.Add("local.loss.class_weights",
               "found federated, whose exact counts carry no noise, with "
               "differential privacy; expected none");
  }
  if (plan.regularizers.ewc_lambda > 0 && plan.regularizers.ewc_federated) {
    errors.Add("local.regularizers.ewc_records",
               "found federated, whose exact sums carry no noise, with "
               "differential privacy; expected local, or ewc_lambda 0");
  }
  if (plan.batch_norm == BatchNormPolicy::kPooled) {
    errors.Add("strategy.batch_norm",
               "found pooled, whose variances noise would spoil, with "
               "differential privacy; expected frozen");
  }
}

// A record may act on a step through its own clipped gradient alone.
void CheckRecordPrivacy(const Plan& plan, ConfigErrors& errors) {
  if (plan.batch_norm == BatchNormPolicy::kLocal) {
    errors.Add("strategy.batch_norm",
               "found local, whose statistics mix a batch's records, with "
               "record privacy; expected frozen");
  }
  if (plan.loss.class_weights == ClassWeights::kLocal) {
    errors.Add("local.loss.class_weights",
               "found local, which depends on every record's class, with "
               "record privacy; expected none");
  }
  if (plan.loss.sampling == Sampling::kBalanced) {
    errors.Add("local.loss.sampling",
               "found balanced with record privacy, which draws each record "
               "with the same probability; expected shuffled");
  }
  if (plan.regularizers.ewc_lambda > 0) {
    errors.Add("local.regularizers.ewc_lambda",
               absl::StrCat("found ", plan.regularizers.ewc_lambda,
                            "; with record privacy expected 0: the Fisher "
                            "information of the records carries no noise"));
  }
  if (plan.gradient_norm_max > 0) {
    errors.Add("local.gradient_norm_max",
               absl::StrCat("found ", plan.gradient_norm_max,
                            "; with record privacy expected 0: each record's "
                            "gradient is clipped to record_clip_norm"));
  }
  if (plan.local_epochs == 0) {
    errors.Add("local.epochs",
               "found 0; with record privacy expected 1 or more");
  }
  if (plan.accumulate > 1) {
    errors.Add("local.accumulate",
               absl::StrCat("found ", plan.accumulate,
                            "; with record privacy expected 1, and a larger "
                            "batch_size"));
  }
}

void CheckSitePrivacy(const Plan& plan, ConfigErrors& errors) {
  if (plan.update.weighting != Weighting::kUniform) {
    errors.Add("update.weighting",
               "found samples with site privacy, for which a site's weight may "
               "not depend on its data; expected uniform");
  }
  if (plan.update.rounding == Rounding::kStochastic) {
    errors.Add(
        "update.rounding",
        "found stochastic with site privacy, whose noise is drawn on the "
        "grid; expected nearest");
  }
  if (plan.rule.kind == "scaffold" || plan.rule.kind == "fed_nova") {
    errors.Add("rule.kind", absl::StrCat("found ", plan.rule.kind,
                                         ", for which sites send more than a "
                                         "clipped update, with site privacy; "
                                         "expected fed_avg"));
  }
  const double clip = plan.update.clip_norm;
  if (!(clip > 0)) {
    errors.Add("update.clip_norm",
               "found 0; site privacy expects a number above 0: the noise is "
               "noise_multiplier times this");
    return;
  }
  const double sigma = plan.differential_privacy.noise_multiplier * clip /
                       std::sqrt(static_cast<double>(plan.quorum));
  const double needed = clip + kSigmasInRange * sigma;
  if (plan.update.range < needed) {
    errors.Add("update.range",
               absl::StrCat("found ", plan.update.range,
                            "; site privacy expects at least ", needed,
                            ": clip_norm and ", kSigmasInRange,
                            " standard deviations of a site's noise"));
  }
}

}  // namespace

void CheckDifferentialPrivacy(const Plan& plan, ConfigErrors& errors) {
  switch (plan.differential_privacy.kind) {
    case DifferentialPrivacy::kNone:
      return;
    case DifferentialPrivacy::kRecord:
      CheckRecordPrivacy(plan, errors);
      break;
    case DifferentialPrivacy::kSite:
      CheckSitePrivacy(plan, errors);
      break;
  }
  CheckExactStatistics(plan, errors);
}

}  // namespace fedgraft
