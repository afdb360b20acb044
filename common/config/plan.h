#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"

namespace fedgraft {

enum class StrategyKind {
  kLinearProbe,
  kFeatureExtraction,
  kPartial,
  kFull,
  kAdapter
};
enum class AdapterKind { kLora, kLoraPlain, kBottleneck, kBatchNormTune };
enum class BatchNormPolicy { kFrozen, kLocal, kPooled };
enum class OptimizerKind { kSgd, kAdamW };
enum class ScheduleKind { kConstant, kCosine, kStep, kSlantedTriangular };
enum class LayerRateKind { kUniform, kBlockDecay, kBackbone, kGroups };
enum class ClassWeights { kNone, kLocal, kFederated };
enum class Sampling { kShuffled, kBalanced };
enum class FisherKind { kExact, kEmpirical };
enum class SolverKind { kNone, kNewton, kRidge };
enum class Normalization { kPooled, kPerSite, kNone };
enum class StoppingMetric { kLoss, kAuc, kBalancedAccuracy };
enum class PersonalKind { kNone, kLocalHead, kDitto };
enum class SecureMode { kAuto, kOn, kOff };
enum class DifferentialPrivacy { kNone, kRecord, kSite };
enum class Interpolation { kNearest, kBilinear, kBicubic, kArea };
enum class AspectPolicy { kStretch, kPad, kCenterCrop };
enum class Weighting { kSamples, kUniform };
enum class Rounding { kNearest, kStochastic };
enum class Split { kTrain, kVal, kTest };
enum class ImportanceTarget { kNone, kPooled };
enum class OnShift { kRecommend, kApply };

struct PreprocessingSpec {
  int size = 224;
  Interpolation interpolation = Interpolation::kBilinear;
  AspectPolicy aspect = AspectPolicy::kStretch;
  // One value for all channels, or three.
  std::vector<double> mean, std;
  bool invert = false;
};

struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0.01, momentum = 0.9, weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.999;
};

struct ScheduleSpec {
  ScheduleKind kind = ScheduleKind::kConstant;
  int warmup_rounds = 0, step_rounds = 10;
  double gamma = 0.1;
  double cut_fraction = 0.1, ratio = 32;
};

struct AdapterSpec {
  AdapterKind kind = AdapterKind::kLora;
  int rank = 8;
  double alpha = 16;
  std::vector<std::string> targets;
  int reduction = 8;
};

struct LayerRateSpec {
  struct Group {
    std::string glob;
    double multiplier = 1;
  };
  LayerRateKind kind = LayerRateKind::kUniform;
  double factor = 0.385;
  std::vector<Group> groups;
  int unfreeze_every = 0;
};

struct LossSpec {
  ClassWeights class_weights = ClassWeights::kNone;
  Sampling sampling = Sampling::kShuffled;
  double label_smoothing = 0;
};

struct ImportanceSpec {
  ImportanceTarget target = ImportanceTarget::kNone;
  double flatten = 0.5;
  double min_ess = 0.3;  // share of the records
};

struct RegularizerSpec {
  double l2_sp_alpha = 0, l2_sp_beta = 0;
  double fed_prox_mu = 0;
  double ewc_lambda = 0;
  FisherKind ewc_fisher = FisherKind::kExact;
  bool ewc_federated = false;
};

struct SolverSpec {
  SolverKind kind = SolverKind::kNone;
  std::vector<double> lambdas;  // from the largest to the smallest
  Normalization normalization = Normalization::kPooled;
  int rounds_max = 200;
  double tolerance = 1e-9;
  bool site_intercept = false;
};

struct StoppingSpec {
  int patience = 0;  // 0: never
  StoppingMetric metric = StoppingMetric::kLoss;
  double min_delta = 0;
};

struct PersonalSpec {
  PersonalKind kind = PersonalKind::kNone;
  double ditto_lambda = 1;
};

// What each rule reads of it: proto/plan.proto.
struct RuleSpec {
  std::string kind = "fed_avg";
  double server_learning_rate = 1;
  double momentum = 0.9;
  double beta1 = 0.9, beta2 = 0.99, tau = 1e-3;
  double trim_fraction = 0.2;
  int byzantine_max = 1;
  int selected = 0;  // 0: all but byzantine_max
  int groups = 0;    // 0: single sites
};

struct SecureAggregationSpec {
  SecureMode mode = SecureMode::kAuto;
  // Sums are made of masked updates. In mode auto it follows from the run's
  // sites (aggregator/round/mask_choice.h); false until they are known.
  bool is_on = false;
  int threshold = 0;  // 0: floor(2n/3) + 1
  int cohort_min = 3;
};

struct DifferentialPrivacySpec {
  DifferentialPrivacy kind = DifferentialPrivacy::kNone;
  double noise_multiplier = 1;
  double record_clip_norm = 1;
  double delta = 1e-5;
};

struct AugmentationSpec {
  bool horizontal_flip = false;
  double rotate_degrees = 0, translate = 0;
  int views = 0;  // kept per image; 0: a new one in every epoch
  bool any() const {
    return horizontal_flip || rotate_degrees > 0 || translate > 0;
  }
};

// How updates become ring words; see common/numeric/ring_codec.h.
struct UpdateSpec {
  int word_bits = 32;
  double range = 4;
  double clip_norm = 0;  // 0: none
  Weighting weighting = Weighting::kSamples;
  int weight_cap = 8192;
  Rounding rounding = Rounding::kNearest;
};

struct EvaluationSpec {
  int every = 1;
  Split split = Split::kVal, final_split = Split::kTest;
  bool compare_local = false;
  int compare_local_every = 0;  // rounds of training; 0: only at the end
};

struct ShiftSpec {
  int every = 0;  // rounds of training; 0: never
  double false_alarm_rate = 0.05;
  OnShift on_shift = OnShift::kRecommend;
  bool devices = false;  // counts of DICOM manufacturers and models
};

// A validated plan. Made by config/plan_loader.h from YAML or from its
// serialised bytes; `bytes` is the deterministic serialisation and `hash` its
// SHA-256. Field meanings, units and ranges: proto/plan.proto.
struct Plan {
  std::string name;
  uint64_t seed = 0;
  int rounds = 1;
  int quorum = 1;
  int expected_sites = 1;
  absl::Duration round_deadline, progress_timeout, enrol_deadline;
  std::vector<std::string> classes;
  std::string architecture;
  Digest backbone;      // `identity`: zero
  int feature_dim = 0;  // `identity`
  PreprocessingSpec preprocessing;
  StrategyKind strategy = StrategyKind::kLinearProbe;
  std::vector<std::string> unfreeze;
  int unfreeze_blocks = 0;
  int hidden_dim = 0;  // 0: a linear head
  AdapterSpec adapter;
  BatchNormPolicy batch_norm = BatchNormPolicy::kFrozen;
  int local_epochs = 1;
  int batch_size = 32;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  AugmentationSpec augmentation;
  LayerRateSpec layer_rates;
  LossSpec loss;
  ImportanceSpec importance;
  RegularizerSpec regularizers;
  double gradient_norm_max = 0;  // 0: none
  int accumulate = 1;
  bool deterministic = false;
  RuleSpec rule;
  UpdateSpec update;
  EvaluationSpec evaluation;
  SolverSpec solver;
  StoppingSpec stopping;
  PersonalSpec personal;
  SecureAggregationSpec secure_aggregation;
  DifferentialPrivacySpec differential_privacy;
  ShiftSpec shift;

  Bytes bytes;
  Digest hash;

  int num_classes() const { return static_cast<int>(classes.size()); }
};

}  // namespace fedgraft
