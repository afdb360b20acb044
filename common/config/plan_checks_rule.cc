#include "common/config/plan_checks_rule.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/config/plan_checks_scaffold.h"
#include "common/config/rule_facts.h"

namespace fedgraft {
namespace {

// Fewer cannot outvote anybody.
constexpr int kRobustUpdatesMin = 3;

bool TakesGroups(const RuleSpec& rule) {
  return rule.kind == "median" || rule.kind == "trimmed_mean";
}

// A key that the rule does not read would be taken for a setting.
void CheckKeysAreRead(const RuleSpec& rule, ConfigErrors& errors) {
  const RuleSpec defaults;
  const struct {
    const char* key;
    double found, by_default;
    std::initializer_list<absl::string_view> readers;
  } keys[] = {
      {"momentum", rule.momentum, defaults.momentum, {"fed_avgm"}},
      {"beta1", rule.beta1, defaults.beta1, {"fed_adam", "fed_yogi"}},
      {"beta2", rule.beta2, defaults.beta2, {"fed_adam", "fed_yogi"}},
      {"tau", rule.tau, defaults.tau, {"fed_adagrad", "fed_adam", "fed_yogi"}},
      {"trim_fraction",
       rule.trim_fraction,
       defaults.trim_fraction,
       {"trimmed_mean"}},
      {"byzantine_max",
       static_cast<double>(rule.byzantine_max),
       static_cast<double>(defaults.byzantine_max),
       {"krum", "multi_krum"}},
      {"selected",
       static_cast<double>(rule.selected),
       static_cast<double>(defaults.selected),
       {"multi_krum"}},
  };
  for (const auto& key : keys) {
    if (key.found == key.by_default) continue;
    if (std::count(key.readers.begin(), key.readers.end(), rule.kind) > 0) {
      continue;
    }
    errors.Add(
        absl::StrCat("rule.", key.key),
        absl::StrCat("found ", key.found, " with ", rule.kind,
                     ", which does not read it; expected ", key.by_default,
                     ", or rule ", absl::StrJoin(key.readers, " or ")));
  }
}

void CheckGroups(const Plan& plan, ConfigErrors& errors) {
  const RuleSpec& rule = plan.rule;
  if (rule.groups == 0) return;
  if (!TakesGroups(rule)) {
    errors.Add("rule.groups",
               absl::StrCat("found ", rule.groups, " with ", rule.kind,
                            "; only median and trimmed_mean expect groups"));
  } else if (rule.groups < kRobustUpdatesMin) {
    errors.Add("rule.groups",
               absl::StrCat("found ", rule.groups, "; expected 0, or at least ",
                            kRobustUpdatesMin,
                            ", so that one hostile group "
                            "does not have its way"));
  } else if (rule.groups > plan.quorum) {
    // A round may be reduced over no more sites than the quorum.
    errors.Add("rule.groups",
               absl::StrCat("found ", rule.groups, "; expected at most the ",
                            plan.quorum, " sites of sites.quorum"));
  }
}

void CheckTrim(const Plan& plan, int updates, ConfigErrors& errors) {
  const RuleSpec& rule = plan.rule;
  if (TrimCount(rule.trim_fraction, static_cast<size_t>(updates)) >= 1) return;
  // Rounded up: what is suggested must do.
  const double least = std::ceil(1e4 / updates) / 1e4;
  errors.Add("rule.trim_fraction",
             absl::StrCat("found ", rule.trim_fraction, ", which cuts none of ",
                          updates,
                          rule.groups > 0 ? " groups"
                                          : " sites (the "
                                            "quorum)",
                          "; expected at least ", least));
}

void CheckKrum(const Plan& plan, ConfigErrors& errors) {
  const RuleSpec& rule = plan.rule;
  const auto byzantine = static_cast<size_t>(rule.byzantine_max);
  const size_t least = KrumUpdatesMin(byzantine);
  const auto quorum = static_cast<size_t>(plan.quorum);
  if (quorum < least) {
    errors.Add("rule.byzantine_max",
               absl::StrCat("found ", rule.byzantine_max, " with a quorum of ",
                            plan.quorum, "; ", rule.kind,
                            " expects at least 2 "
                            "byzantine_max + 3 = ",
                            least, " sites"));
  } else if (rule.kind == "multi_krum" && rule.selected > 0 &&
             static_cast<size_t>(rule.selected) > quorum - byzantine) {
    errors.Add("rule.selected",
               absl::StrCat("found ", rule.selected, "; expected at most the ",
                            quorum - byzantine, " of a quorum of ", plan.quorum,
                            " that are not hostile"));
  }
}

// The rule divides by what plain SGD steps add up to.
void CheckNova(const Plan& plan, ConfigErrors& errors) {
  if (plan.optimizer.kind != OptimizerKind::kSgd) {
    errors.Add("local.optimizer.kind",
               "found adamw with rule fed_nova, which knows how far steps of "
               "SGD go; expected sgd");
  }
  if (plan.regularizers.fed_prox_mu > 0) {
    errors.Add("local.regularizers.fed_prox_mu",
               absl::StrCat("found ", plan.regularizers.fed_prox_mu,
                            " with rule fed_nova; expected 0"));
  }
  if (plan.batch_size < 2) {
    errors.Add("local.batch_size",
               "found 1 with rule fed_nova; expected 2 or more");
  }
  if (plan.update.weighting != Weighting::kSamples) {
    errors.Add("update.weighting",
               "found uniform with rule fed_nova, whose steps are checked by "
               "the number of samples; expected samples");
  }
  if (plan.differential_privacy.kind != DifferentialPrivacy::kNone) {
    errors.Add("rule.kind",
               "found fed_nova with differential privacy: the number of steps "
               "would travel without noise; expected another rule");
  }
}

void CheckSecureAggregation(const Plan& plan, ConfigErrors& errors) {
  const RuleSpec& rule = plan.rule;
  if (!plan.secure_aggregation.is_on || !IsRobustRule(rule)) return;
  errors.Add("rule.kind",
             absl::StrCat("found ", rule.kind,
                          " with secure aggregation on, "
                          "which hides the single updates that the rule "
                          "compares; expected a rule on sums, or mode off, "
                          "where median and trimmed_mean may at least look at "
                          "sums of groups alone (rule.groups)"));
}

}  // namespace

void CheckRule(const Plan& plan, ConfigErrors& errors) {
  const RuleSpec& rule = plan.rule;
  if (plan.rounds == 0 && rule.kind != RuleSpec().kind) {
    errors.Add("rule.kind",
               absl::StrCat("found ", rule.kind,
                            " with rounds 0, in which no update is combined; "
                            "expected ",
                            RuleSpec().kind));
  }
  CheckKeysAreRead(rule, errors);
  if (rule.kind == "fed_nova") CheckNova(plan, errors);
  if (rule.kind == "scaffold") CheckScaffold(plan, errors);
  CheckSecureAggregation(plan, errors);
  CheckGroups(plan, errors);
  const int updates = rule.groups > 0 ? rule.groups : plan.quorum;
  if (IsRobustRule(rule) && plan.quorum < kRobustUpdatesMin) {
    errors.Add("sites.quorum",
               absl::StrCat("found ", plan.quorum, "; rule ", rule.kind,
                            " expects at least ", kRobustUpdatesMin,
                            " sites, so that one does not have its way"));
  } else if (rule.kind == "trimmed_mean") {
    CheckTrim(plan, updates, errors);
  } else if (rule.kind == "krum" || rule.kind == "multi_krum") {
    CheckKrum(plan, errors);
  }
}

}  // namespace fedgraft
