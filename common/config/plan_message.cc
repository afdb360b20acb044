#include "common/config/plan_message.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr int kHiddenDimDefault = 256;

template <typename Enum>
using Words = std::initializer_list<std::pair<const char*, Enum>>;

// The schema's check let only these words through.
template <typename Enum>
Enum FromWord(const std::string& word, Words<Enum> words) {
  for (const auto& [known, value] : words) {
    if (word == known) return value;
  }
  FG_CHECK(false && "a word that proto/plan.proto allows and this does not");
  return words.begin()->second;
}

Split SplitOf(const std::string& word) {
  return FromWord<Split>(
      word,
      {{"train", Split::kTrain}, {"val", Split::kVal}, {"test", Split::kTest}});
}

absl::Duration DurationOf(const std::string& text) {
  absl::Duration duration;
  FG_CHECK(absl::ParseDuration(text, &duration));
  return duration;
}

PreprocessingSpec PreprocessingOf(const pb::PreprocessingSpec& message) {
  PreprocessingSpec spec;
  spec.size = message.size();
  spec.interpolation = FromWord<Interpolation>(
      message.interpolation(), {{"nearest", Interpolation::kNearest},
                                {"bilinear", Interpolation::kBilinear},
                                {"bicubic", Interpolation::kBicubic},
                                {"area", Interpolation::kArea}});
  spec.aspect = FromWord<AspectPolicy>(
      message.aspect(), {{"stretch", AspectPolicy::kStretch},
                         {"pad", AspectPolicy::kPad},
                         {"center_crop", AspectPolicy::kCenterCrop}});
  spec.mean.assign(message.mean().begin(), message.mean().end());
  spec.std.assign(message.std().begin(), message.std().end());
  spec.invert = message.invert();
  return spec;
}

OptimizerSpec OptimizerOf(const pb::OptimizerSpec& message) {
  OptimizerSpec spec;
  spec.kind = FromWord<OptimizerKind>(
      message.kind(),
      {{"sgd", OptimizerKind::kSgd}, {"adamw", OptimizerKind::kAdamW}});
  spec.learning_rate = message.learning_rate();
  spec.momentum = message.momentum();
  spec.weight_decay = message.weight_decay();
  spec.beta1 = message.beta1();
  spec.beta2 = message.beta2();
  return spec;
}

ScheduleSpec ScheduleOf(const pb::ScheduleSpec& message) {
  ScheduleSpec spec;
  spec.kind = FromWord<ScheduleKind>(
      message.kind(),
      {{"constant", ScheduleKind::kConstant},
       {"cosine", ScheduleKind::kCosine},
       {"step", ScheduleKind::kStep},
       {"slanted_triangular", ScheduleKind::kSlantedTriangular}});
  spec.warmup_rounds = message.warmup_rounds();
  spec.step_rounds = message.step_rounds();
  spec.gamma = message.gamma();
  spec.cut_fraction = message.cut_fraction();
  spec.ratio = message.ratio();
  return spec;
}

AdapterSpec AdapterOf(const pb::AdapterSpec& message) {
  AdapterSpec spec;
  spec.kind = FromWord<AdapterKind>(message.kind(),
                                    {{"lora", AdapterKind::kLora},
                                     {"lora_plain", AdapterKind::kLoraPlain},
                                     {"bottleneck", AdapterKind::kBottleneck},
                                     {"bn_tune", AdapterKind::kBatchNormTune}});
  spec.rank = message.rank();
  spec.alpha = message.alpha();
  spec.targets.assign(message.targets().begin(), message.targets().end());
  spec.reduction = message.reduction();
  return spec;
}

LayerRateSpec LayerRatesOf(const pb::LayerRateSpec& message) {
  LayerRateSpec spec;
  spec.kind = FromWord<LayerRateKind>(
      message.kind(), {{"uniform", LayerRateKind::kUniform},
                       {"block_decay", LayerRateKind::kBlockDecay},
                       {"backbone", LayerRateKind::kBackbone},
                       {"groups", LayerRateKind::kGroups}});
  spec.factor = message.factor();
  for (const pb::LayerRateGroup& group : message.groups()) {
    spec.groups.push_back({group.glob(), group.multiplier()});
  }
  spec.unfreeze_every = message.unfreeze_every();
  return spec;
}

LossSpec LossOf(const pb::LossSpec& message) {
  LossSpec spec;
  spec.class_weights = FromWord<ClassWeights>(
      message.class_weights(), {{"none", ClassWeights::kNone},
                                {"local", ClassWeights::kLocal},
                                {"federated", ClassWeights::kFederated}});
  spec.sampling = FromWord<Sampling>(
      message.sampling(),
      {{"shuffled", Sampling::kShuffled}, {"balanced", Sampling::kBalanced}});
  spec.label_smoothing = message.label_smoothing();
  return spec;
}

RegularizerSpec RegularizersOf(const pb::RegularizerSpec& message) {
  RegularizerSpec spec;
  spec.l2_sp_alpha = message.l2_sp_alpha();
  spec.l2_sp_beta = message.l2_sp_beta();
  spec.fed_prox_mu = message.fed_prox_mu();
  spec.ewc_lambda = message.ewc_lambda();
  spec.ewc_fisher = FromWord<FisherKind>(
      message.ewc_fisher(),
      {{"exact", FisherKind::kExact}, {"empirical", FisherKind::kEmpirical}});
  spec.ewc_federated = message.ewc_records() == "federated";
  return spec;
}

ImportanceSpec ImportanceOf(const pb::ImportanceSpec& message) {
  ImportanceSpec spec;
  spec.target = FromWord<ImportanceTarget>(
      message.target(), {{"none", ImportanceTarget::kNone},
                         {"pooled", ImportanceTarget::kPooled}});
  spec.flatten = message.flatten();
  spec.min_ess = message.min_ess();
  return spec;
}

SolverSpec SolverOf(const pb::SolverSpec& message) {
  SolverSpec spec;
  spec.kind =
      FromWord<SolverKind>(message.kind(), {{"none", SolverKind::kNone},
                                            {"newton", SolverKind::kNewton},
                                            {"ridge", SolverKind::kRidge}});
  spec.lambdas.assign(message.lambdas().begin(), message.lambdas().end());
  if (spec.lambdas.empty()) spec.lambdas = {1};
  std::sort(spec.lambdas.rbegin(), spec.lambdas.rend());
  spec.normalization = FromWord<Normalization>(
      message.normalization(), {{"pooled", Normalization::kPooled},
                                {"per_site", Normalization::kPerSite},
                                {"none", Normalization::kNone}});
  spec.rounds_max = message.rounds_max();
  spec.tolerance = message.tolerance();
  spec.site_intercept = message.site_intercept();
  return spec;
}

StoppingSpec StoppingOf(const pb::StoppingSpec& message) {
  StoppingSpec spec;
  spec.patience = message.patience();
  spec.metric = FromWord<StoppingMetric>(
      message.metric(),
      {{"loss", StoppingMetric::kLoss},
       {"auc", StoppingMetric::kAuc},
       {"balanced_accuracy", StoppingMetric::kBalancedAccuracy}});
  spec.min_delta = message.min_delta();
  return spec;
}

PersonalSpec PersonalOf(const pb::PersonalSpec& message) {
  PersonalSpec spec;
  spec.kind = FromWord<PersonalKind>(message.kind(),
                                     {{"none", PersonalKind::kNone},
                                      {"local_head", PersonalKind::kLocalHead},
                                      {"ditto", PersonalKind::kDitto}});
  spec.ditto_lambda = message.ditto_lambda();
  return spec;
}

RuleSpec RuleOf(const pb::RuleSpec& message) {
  RuleSpec spec;
  spec.kind = message.kind();
  spec.server_learning_rate = message.server_learning_rate();
  spec.momentum = message.momentum();
  spec.beta1 = message.beta1();
  spec.beta2 = message.beta2();
  spec.tau = message.tau();
  spec.trim_fraction = message.trim_fraction();
  spec.byzantine_max = message.byzantine_max();
  spec.selected = message.selected();
  spec.groups = message.groups();
  return spec;
}

SecureAggregationSpec SecureAggregationOf(
    const pb::SecureAggregationSpec& message) {
  SecureAggregationSpec spec;
  spec.mode = FromWord<SecureMode>(message.mode(), {{"auto", SecureMode::kAuto},
                                                    {"on", SecureMode::kOn},
                                                    {"off", SecureMode::kOff}});
  spec.is_on = spec.mode == SecureMode::kOn;
  spec.threshold = message.threshold();
  spec.cohort_min = message.cohort_min();
  return spec;
}

DifferentialPrivacySpec DifferentialPrivacyOf(
    const pb::DifferentialPrivacySpec& message) {
  DifferentialPrivacySpec spec;
  spec.kind = FromWord<DifferentialPrivacy>(
      message.kind(), {{"none", DifferentialPrivacy::kNone},
                       {"record", DifferentialPrivacy::kRecord},
                       {"site", DifferentialPrivacy::kSite}});
  spec.noise_multiplier = message.noise_multiplier();
  spec.record_clip_norm = message.record_clip_norm();
  spec.delta = message.delta();
  return spec;
}

UpdateSpec UpdateOf(const pb::UpdateSpec& message) {
  UpdateSpec spec;
  spec.word_bits = message.word_bits();
  spec.range = message.range();
  spec.clip_norm = message.clip_norm();
  spec.weighting = FromWord<Weighting>(
      message.weighting(),
      {{"samples", Weighting::kSamples}, {"uniform", Weighting::kUniform}});
  spec.weight_cap = message.weight_cap();
  spec.rounding = FromWord<Rounding>(
      message.rounding(),
      {{"nearest", Rounding::kNearest}, {"stochastic", Rounding::kStochastic}});
  return spec;
}

}  // namespace

Plan PlanFromMessage(const pb::Plan& message) {
  Plan plan;
  plan.name = message.name();
  plan.seed = message.seed();
  plan.rounds = message.rounds();
  plan.quorum = message.sites().quorum();
  plan.expected_sites =
      message.sites().expected() > 0 ? message.sites().expected() : plan.quorum;
  plan.round_deadline = DurationOf(message.deadlines().round());
  plan.progress_timeout = DurationOf(message.deadlines().progress());
  plan.enrol_deadline = DurationOf(message.deadlines().enrol());
  plan.classes.assign(message.task().classes().begin(),
                      message.task().classes().end());
  plan.architecture = message.backbone().architecture();
  if (!message.backbone().sha256().empty()) {
    const auto backbone = Digest::FromHex(message.backbone().sha256());
    FG_CHECK(backbone.ok());
    plan.backbone = *backbone;
  }
  plan.feature_dim = message.backbone().feature_dim();
  plan.preprocessing = PreprocessingOf(message.preprocessing());
  plan.strategy = FromWord<StrategyKind>(
      message.strategy().kind(),
      {{"linear_probe", StrategyKind::kLinearProbe},
       {"feature_extraction", StrategyKind::kFeatureExtraction},
       {"partial", StrategyKind::kPartial},
       {"full", StrategyKind::kFull},
       {"adapter", StrategyKind::kAdapter}});
  plan.unfreeze.assign(message.strategy().unfreeze().begin(),
                       message.strategy().unfreeze().end());
  plan.unfreeze_blocks = message.strategy().unfreeze_blocks();
  plan.hidden_dim = message.strategy().hidden_dim();
  if (plan.strategy == StrategyKind::kFeatureExtraction &&
      plan.hidden_dim == 0) {
    plan.hidden_dim = kHiddenDimDefault;
  }
  plan.adapter = AdapterOf(message.strategy().adapter());
  plan.batch_norm = FromWord<BatchNormPolicy>(
      message.strategy().batch_norm(), {{"frozen", BatchNormPolicy::kFrozen},
                                        {"local", BatchNormPolicy::kLocal},
                                        {"pooled", BatchNormPolicy::kPooled}});
  plan.local_epochs = message.local().epochs();
  plan.batch_size = message.local().batch_size();
  plan.optimizer = OptimizerOf(message.local().optimizer());
  plan.schedule = ScheduleOf(message.local().schedule());
  const pb::AugmentationSpec& augmentation = message.local().augmentation();
  plan.augmentation = {augmentation.horizontal_flip(),
                       augmentation.rotate_degrees(), augmentation.translate(),
                       augmentation.views()};
  plan.layer_rates = LayerRatesOf(message.local().layer_rates());
  plan.loss = LossOf(message.local().loss());
  plan.importance = ImportanceOf(message.local().importance_weights());
  plan.regularizers = RegularizersOf(message.local().regularizers());
  plan.gradient_norm_max = message.local().gradient_norm_max();
  plan.accumulate = message.local().accumulate();
  plan.deterministic = message.local().deterministic();
  plan.rule = RuleOf(message.rule());
  plan.update = UpdateOf(message.update());
  plan.evaluation = {message.evaluation().every(),
                     SplitOf(message.evaluation().split()),
                     SplitOf(message.evaluation().final_split()),
                     message.evaluation().compare_local(),
                     message.evaluation().compare_local_every()};
  plan.solver = SolverOf(message.solver());
  plan.stopping = StoppingOf(message.stopping());
  plan.personal = PersonalOf(message.personal());
  plan.secure_aggregation =
      SecureAggregationOf(message.privacy().secure_aggregation());
  plan.differential_privacy =
      DifferentialPrivacyOf(message.privacy().differential_privacy());
  plan.shift = {message.shift().every(), message.shift().false_alarm_rate(),
                FromWord<OnShift>(message.shift().on_shift(),
                                  {{"recommend", OnShift::kRecommend},
                                   {"apply", OnShift::kApply}}),
                message.shift().devices()};
  return plan;
}

}  // namespace fedgraft
