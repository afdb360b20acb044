#include "common/config/plan_checks.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config/identity.h"
#include "common/config/plan_checks_privacy.h"
#include "common/config/plan_checks_rule.h"
#include "common/config/plan_checks_secure.h"
#include "common/config/plan_checks_shift.h"
#include "common/config/plan_checks_statistics.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

constexpr size_t kClassNameBytesMax = 128;
constexpr size_t kGlobBytesMax = 256;
// Fewer grid steps within the range are noise, not an update.
constexpr double kStepsMin = 4;

void CheckSites(const Plan& plan, ConfigErrors& errors) {
  if (plan.quorum > plan.expected_sites) {
    errors.Add("sites.quorum",
               absl::StrCat("found ", plan.quorum, "; expected at most the ",
                            plan.expected_sites, " sites of sites.expected"));
  }
}

void CheckClasses(const Plan& plan, ConfigErrors& errors) {
  std::set<std::string> seen;
  for (size_t i = 0; i < plan.classes.size(); ++i) {
    const std::string& name = plan.classes[i];
    const std::string path = absl::StrCat("task.classes[", i, "]");
    if (!seen.insert(name).second) {
      errors.Add(path, absl::StrCat("found \"", name,
                                    "\" twice; expected different names"));
    }
    if (name.size() > kClassNameBytesMax) {
      errors.Add(
          path, absl::StrCat("found ", name.size(), " bytes; expected at most ",
                             kClassNameBytesMax));
    }
  }
}

void CheckPreprocessing(const PreprocessingSpec& spec, ConfigErrors& errors) {
  const auto check_size = [&errors](const char* key, size_t size) {
    if (size != 0 && size != 1 && size != 3) {
      errors.Add(key, absl::StrCat("found ", size,
                                   " numbers; expected none, one for all "
                                   "channels, or three"));
    }
  };
  check_size("preprocessing.mean", spec.mean.size());
  check_size("preprocessing.std", spec.std.size());
  for (size_t i = 0; i < spec.std.size(); ++i) {
    if (!(spec.std[i] > 0)) {
      errors.Add(
          absl::StrCat("preprocessing.std[", i, "]"),
          absl::StrCat("found ", spec.std[i], "; expected a number above 0"));
    }
  }
}

void CheckStrategy(const Plan& plan, ConfigErrors& errors) {
  const bool is_partial = plan.strategy == StrategyKind::kPartial;
  if (is_partial && plan.unfreeze.empty() && plan.unfreeze_blocks == 0) {
    errors.Add("strategy.unfreeze",
               "is missing; strategy partial expects at least one glob, such "
               "as \"layer4.*\", or unfreeze_blocks");
  }
  if (!is_partial && plan.unfreeze_blocks > 0) {
    errors.Add("strategy.unfreeze_blocks",
               absl::StrCat("found ", plan.unfreeze_blocks,
                            "; only strategy partial expects any"));
  }
  if (!is_partial && !plan.unfreeze.empty()) {
    errors.Add("strategy.unfreeze",
               "found globs; only strategy partial expects any");
  }
  for (size_t i = 0; i < plan.unfreeze.size(); ++i) {
    if (plan.unfreeze[i].size() > kGlobBytesMax) {
      errors.Add(absl::StrCat("strategy.unfreeze[", i, "]"),
                 absl::StrCat("found ", plan.unfreeze[i].size(),
                              " bytes; expected at most ", kGlobBytesMax));
    }
  }
}

// Of the head's hidden branch and of adapters; what depends on the backbone is
// checked with its file (common/model/adapters.h).
void CheckGrafts(const Plan& plan, ConfigErrors& errors) {
  const bool is_adapter = plan.strategy == StrategyKind::kAdapter;
  if (plan.strategy == StrategyKind::kLinearProbe && plan.hidden_dim > 0) {
    errors.Add("strategy.hidden_dim",
               absl::StrCat("found ", plan.hidden_dim,
                            " with linear_probe; expected 0, or strategy "
                            "feature_extraction"));
  }
  if (!is_adapter && !plan.adapter.targets.empty()) {
    errors.Add("strategy.adapter.targets",
               "found globs; only strategy adapter expects any");
  }
  const bool is_bn_tune = plan.adapter.kind == AdapterKind::kBatchNormTune;
  if (is_adapter && !is_bn_tune &&
      plan.batch_norm != BatchNormPolicy::kFrozen) {
    errors.Add("strategy.batch_norm",
               "found local or pooled, but this adapter leaves all BatchNorm "
               "layers frozen; expected frozen, or adapter kind bn_tune");
  }
  for (size_t i = 0; i < plan.adapter.targets.size(); ++i) {
    if (plan.adapter.targets[i].size() > kGlobBytesMax) {
      errors.Add(absl::StrCat("strategy.adapter.targets[", i, "]"),
                 absl::StrCat("found ", plan.adapter.targets[i].size(),
                              " bytes; expected at most ", kGlobBytesMax));
    }
  }
}

// Steps of the grid within the range, for these words; 0 if there is no grid.
double StepsInRange(const Plan& plan, int word_bits) {
  const auto ring =
      RingSpec::ForSum(word_bits, plan.update.range, MaxTerms(plan));
  return ring.ok() ? plan.update.range / ring->Step() : 0;
}

void CheckUpdate(const Plan& plan, ConfigErrors& errors) {
  constexpr char kKey[] = "update.word_bits";
  if (!IsWordWidth(plan.update.word_bits)) {
    errors.Add(kKey, absl::StrCat("found ", plan.update.word_bits,
                                  "; expected 8, 12, 16, 20, 24, 32 or 64"));
    return;
  }
  const double steps = StepsInRange(plan, plan.update.word_bits);
  if (steps >= kStepsMin) return;
  std::string problem =
      absl::StrCat("found ", plan.update.word_bits, ", which leaves ", steps,
                   " steps for a range of ", plan.update.range,
                   " summed over up to ", MaxTerms(plan), " sites; expected ");
  for (int bits : {12, 16, 20, 24, 32, 64}) {
    if (StepsInRange(plan, bits) >= kStepsMin) {
      errors.Add(kKey, absl::StrCat(problem, bits, " or more"));
      return;
    }
  }
  errors.Add("update.range",
             absl::StrCat("found ", plan.update.range,
                          ", for which no word width has a grid"));
}

// Feature vectors have no file, no layers below the head and no pixels.
void CheckIdentity(const Plan& plan, ConfigErrors& errors) {
  if (plan.backbone != Digest()) {
    errors.Add("backbone.sha256",
               "found one; architecture identity has no file and expects none");
  }
  if (plan.strategy != StrategyKind::kLinearProbe &&
      plan.strategy != StrategyKind::kFeatureExtraction) {
    errors.Add("strategy.kind",
               "found a strategy that trains a backbone; architecture identity "
               "has none and expects linear_probe or feature_extraction");
  }
  if (plan.augmentation.any()) {
    errors.Add("local.augmentation",
               "found random views of images; architecture identity has "
               "feature vectors and expects none");
  }
}

void CheckBackboneSpec(const Plan& plan, ConfigErrors& errors) {
  const bool is_identity = !HasBackbone(plan);
  if (is_identity) CheckIdentity(plan, errors);
  if (!is_identity && plan.feature_dim > 0) {
    errors.Add("backbone.feature_dim",
               absl::StrCat("found ", plan.feature_dim,
                            "; only architecture identity expects it"));
  }
  if (is_identity && plan.feature_dim < 1) {
    errors.Add("backbone.feature_dim",
               "is missing; architecture identity expects the length of the "
               "feature vectors");
  }
}

void CheckSolver(const Plan& plan, ConfigErrors& errors) {
  const SolverSpec& solver = plan.solver;
  const bool is_probe = plan.strategy == StrategyKind::kLinearProbe;
  if (solver.kind == SolverKind::kNone) {
    if (plan.rounds == 0) {
      errors.Add("rounds", "found 0; expected 1 or more without a solver");
    }
    return;
  }
  if (is_probe && plan.rounds > 0) {
    errors.Add("rounds",
               absl::StrCat("found ", plan.rounds,
                            "; expected 0: the solver gives the best linear "
                            "probe, and there is nothing left to train"));
  } else if (!is_probe && plan.rounds == 0) {
    errors.Add("rounds",
               "found 0; expected 1 or more to train what the strategy "
               "unfreezes after the solver, or strategy linear_probe");
  }
  if (plan.architecture == "squeezenet1_1") {
    errors.Add("solver.kind",
               "found a solver for squeezenet1_1, whose head is not linear in "
               "its features; expected none, or another backbone");
  }
  if (!(solver.lambdas.back() > 0)) {
    errors.Add("solver.lambdas", absl::StrCat("found ", solver.lambdas.back(),
                                              "; expected numbers above 0"));
  }
  if (plan.rounds > 0 && solver.normalization == Normalization::kPerSite) {
    errors.Add("solver.normalization",
               "found per_site with rounds of training, which start from one "
               "head for all; expected pooled or none");
  }
  if (plan.rounds > 0 && solver.site_intercept) {
    errors.Add("solver.site_intercept",
               "found true with rounds of training; expected it with a linear "
               "probe alone");
  }
  if (plan.personal.kind != PersonalKind::kNone) {
    errors.Add("personal.kind",
               "found a personal model with a solver; expected none");
  }
}

void CheckStopping(const Plan& plan, ConfigErrors& errors) {
  if (plan.stopping.patience == 0) return;
  if (plan.evaluation.every < 1) {
    errors.Add("stopping.patience",
               absl::StrCat("found ", plan.stopping.patience,
                            " with evaluation.every ", plan.evaluation.every,
                            "; early stopping expects evaluations during the "
                            "run (every: 1 or more)"));
  }
  if (plan.batch_norm == BatchNormPolicy::kLocal ||
      plan.personal.kind != PersonalKind::kNone) {
    errors.Add("stopping.patience",
               absl::StrCat("found ", plan.stopping.patience,
                            " with layers that stay at the sites, whose "
                            "earlier state is not kept; expected 0"));
  }
}

void CheckAugmentation(const AugmentationSpec& spec, ConfigErrors& errors) {
  if (spec.views > 0 && !spec.any()) {
    errors.Add("local.augmentation.views",
               absl::StrCat("found ", spec.views,
                            "; expected 0 without horizontal_flip, "
                            "rotate_degrees or translate"));
  }
}

// True if the head is all that this plan trains.
bool TrainsHeadAlone(const Plan& plan) {
  return plan.strategy == StrategyKind::kLinearProbe ||
         plan.strategy == StrategyKind::kFeatureExtraction;
}

void CheckLayerRates(const Plan& plan, ConfigErrors& errors) {
  const LayerRateSpec& rates = plan.layer_rates;
  const bool has_groups = rates.kind == LayerRateKind::kGroups;
  if (has_groups && rates.groups.empty()) {
    errors.Add("local.layer_rates.groups",
               "is missing; kind groups expects at least one map, such as "
               "{glob: \"layer4.*\", multiplier: 0.1}");
  }
  if (!has_groups && !rates.groups.empty()) {
    errors.Add("local.layer_rates.groups",
               "found groups; only kind groups expects any");
  }
  for (size_t i = 0; i < rates.groups.size(); ++i) {
    if (rates.groups[i].glob.size() > kGlobBytesMax) {
      errors.Add(absl::StrCat("local.layer_rates.groups[", i, "].glob"),
                 absl::StrCat("found ", rates.groups[i].glob.size(),
                              " bytes; expected at most ", kGlobBytesMax));
    }
  }
  if (TrainsHeadAlone(plan) && (rates.kind == LayerRateKind::kBlockDecay ||
                                rates.kind == LayerRateKind::kBackbone)) {
    errors.Add("local.layer_rates.kind",
               "found rates for blocks below the head, of which this strategy "
               "trains none; expected uniform, or strategy partial, full or "
               "adapter");
  }
  if (rates.unfreeze_every == 0) return;
  if (TrainsHeadAlone(plan)) {
    errors.Add("local.layer_rates.unfreeze_every",
               absl::StrCat("found ", rates.unfreeze_every,
                            "; expected 0: this strategy trains no block below "
                            "the head"));
  } else if (plan.rounds > 0 && rates.unfreeze_every >= plan.rounds) {
    errors.Add(
        "local.layer_rates.unfreeze_every",
        absl::StrCat("found ", rates.unfreeze_every, " with ", plan.rounds,
                     " rounds, in which only the head would train; "
                     "expected fewer than the rounds, or 0"));
  }
}

void CheckLoss(const LossSpec& loss, ConfigErrors& errors) {
  if (loss.class_weights != ClassWeights::kNone &&
      loss.sampling == Sampling::kBalanced) {
    errors.Add("local.loss.sampling",
               "found balanced with class weights, which would correct the "
               "classes twice; expected one of them");
  }
}

void CheckRegularizers(const Plan& plan, ConfigErrors& errors) {
  const bool trains_pretrained =
      !TrainsHeadAlone(plan) &&
      (plan.strategy != StrategyKind::kAdapter ||
       plan.adapter.kind == AdapterKind::kBatchNormTune);
  if (plan.regularizers.l2_sp_alpha > 0 && !trains_pretrained) {
    errors.Add("local.regularizers.l2_sp_alpha",
               absl::StrCat("found ", plan.regularizers.l2_sp_alpha,
                            "; expected 0: this strategy leaves the pretrained "
                            "values as they are"));
  }
}

void CheckPersonal(const Plan& plan, ConfigErrors& errors) {
  if (plan.personal.kind == PersonalKind::kLocalHead && TrainsHeadAlone(plan)) {
    errors.Add("personal.kind",
               "found local_head with a strategy that trains the head alone, "
               "so that nothing would travel; expected strategy partial, full "
               "or adapter, or another kind");
  }
  if (plan.personal.kind == PersonalKind::kDitto &&
      !(plan.personal.ditto_lambda > 0)) {
    errors.Add("personal.ditto_lambda",
               "found 0, which is training alone; expected a number above 0, "
               "or evaluation.compare_local");
  }
}

void CheckPrivacy(const Plan& plan, ConfigErrors& errors) {
  CheckSecureAggregation(plan, errors);
  CheckDifferentialPrivacy(plan, errors);
  // A key that does nothing would be taken for protection.
  const DifferentialPrivacySpec none, &noise = plan.differential_privacy;
  if (noise.kind == DifferentialPrivacy::kNone &&
      (noise.noise_multiplier != none.noise_multiplier ||
       noise.record_clip_norm != none.record_clip_norm ||
       noise.delta != none.delta)) {
    errors.Add("privacy.differential_privacy",
               "found its keys with kind none, where they do nothing; expected "
               "their defaults");
  }
}

void CheckEvaluation(const EvaluationSpec& spec, ConfigErrors& errors) {
  if (spec.compare_local && spec.every < 0) {
    errors.Add("evaluation.compare_local",
               "found true; expected false without evaluation (every: -1)");
  }
  const int compare_every = spec.compare_local_every;
  if (compare_every == 0) return;
  if (!spec.compare_local) {
    errors.Add("evaluation.compare_local_every",
               absl::StrCat("found ", compare_every,
                            " without compare_local, so that nothing is "
                            "compared; expected compare_local: true, or 0"));
  } else if (spec.every < 1 || compare_every % spec.every != 0) {
    errors.Add("evaluation.compare_local_every",
               absl::StrCat("found ", compare_every, " with evaluation.every ",
                            spec.every,
                            "; expected a multiple of it: models are compared "
                            "where they are evaluated (or 0)"));
  }
}

}  // namespace

void CheckPlan(const Plan& plan, ConfigErrors& errors) {
  CheckSites(plan, errors);
  CheckClasses(plan, errors);
  CheckBackboneSpec(plan, errors);
  CheckPreprocessing(plan.preprocessing, errors);
  CheckStrategy(plan, errors);
  CheckGrafts(plan, errors);
  CheckUpdate(plan, errors);
  CheckLayerRates(plan, errors);
  CheckLoss(plan.loss, errors);
  CheckRegularizers(plan, errors);
  CheckStatistics(plan, errors);
  CheckPersonal(plan, errors);
  CheckSolver(plan, errors);
  CheckStopping(plan, errors);
  CheckAugmentation(plan.augmentation, errors);
  CheckEvaluation(plan.evaluation, errors);
  CheckRule(plan, errors);
  CheckPrivacy(plan, errors);
  CheckShift(plan, errors);
}

}  // namespace fedgraft
