#include "common/config/plan_checks_scaffold.h"

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

// A control variate is the mean gradient of a round's steps, as far as these
// went along gradients of the site's own loss and nothing else.
void CheckSteps(const Plan& plan, ConfigErrors& errors) {
  if (plan.optimizer.kind != OptimizerKind::kSgd) {
    errors.Add("local.optimizer.kind",
               "found adamw with rule scaffold, which reads the gradient from "
               "how far plain SGD went; expected sgd, with momentum 0");
  } else if (plan.optimizer.momentum != 0) {
    errors.Add("local.optimizer.momentum",
               absl::StrCat("found ", plan.optimizer.momentum,
                            " with rule scaffold, which reads the gradient "
                            "from how far plain SGD went; expected 0, or rule "
                            "fed_nova"));
  }
  if (plan.local_epochs == 0) {
    errors.Add("local.epochs",
               "found 0 with rule scaffold, which learns from a round's steps; "
               "expected 1 or more");
  }
  if (plan.gradient_norm_max > 0) {
    errors.Add("local.gradient_norm_max",
               absl::StrCat("found ", plan.gradient_norm_max,
                            " with rule scaffold, for which cut steps tell "
                            "nothing of the gradient; expected 0"));
  }
  if (plan.regularizers.fed_prox_mu > 0) {
    errors.Add("local.regularizers.fed_prox_mu",
               absl::StrCat("found ", plan.regularizers.fed_prox_mu,
                            " with rule scaffold, whose control variates would "
                            "take its pull for the site's gradient; expected "
                            "0"));
  }
}

// What control variates are not made for.
void CheckParts(const Plan& plan, ConfigErrors& errors) {
  if (plan.batch_norm == BatchNormPolicy::kLocal) {
    errors.Add("strategy.batch_norm",
               "found local with rule scaffold, which corrects what travels "
               "alone; expected frozen or pooled");
  }
  if (plan.personal.kind == PersonalKind::kLocalHead) {
    errors.Add("personal.kind",
               "found local_head with rule scaffold, which corrects what "
               "travels alone; expected none or ditto");
  }
  if (plan.solver.kind != SolverKind::kNone) {
    errors.Add("solver.kind",
               "found a solver with rule scaffold; expected none, or rule "
               "fed_avg: after an exact head sites hardly drift");
  }
  if (plan.regularizers.ewc_lambda > 0 && plan.regularizers.ewc_federated) {
    errors.Add("local.regularizers.ewc_records",
               "found federated, which gathers Fisher information of what "
               "travels, with rule scaffold, whose control variates have none; "
               "expected local");
  }
}

}  // namespace

void CheckScaffold(const Plan& plan, ConfigErrors& errors) {
  CheckSteps(plan, errors);
  CheckParts(plan, errors);
  if (plan.update.weighting != Weighting::kUniform) {
    errors.Add("update.weighting",
               "found samples with rule scaffold, whose control variates are "
               "plain means over sites; expected uniform");
  }
  if (plan.differential_privacy.kind == DifferentialPrivacy::kRecord) {
    errors.Add("rule.kind",
               "found scaffold with differential privacy, which does not cover "
               "what is made of a round's gradients beside the update; "
               "expected another rule");
  }
}

}  // namespace fedgraft
