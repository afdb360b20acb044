#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"

namespace fedgraft {

enum class StrategyKind { kLinearProbe, kPartial, kFull };
enum class BatchNormPolicy { kFrozen, kLocal, kPooled };
enum class OptimizerKind { kSgd, kAdamW };
enum class ScheduleKind { kConstant, kCosine, kStep };
enum class Interpolation { kNearest, kBilinear, kBicubic, kArea };
enum class AspectPolicy { kStretch, kPad, kCenterCrop };
enum class Weighting { kSamples, kUniform };
enum class Split { kTrain, kVal, kTest };

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
};

struct AugmentationSpec {
  bool horizontal_flip = false;
  double rotate_degrees = 0, translate = 0;
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
};

struct EvaluationSpec {
  int every = 1;
  Split split = Split::kVal, final_split = Split::kTest;
  bool compare_local = false;
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
  Digest backbone;
  PreprocessingSpec preprocessing;
  StrategyKind strategy = StrategyKind::kLinearProbe;
  std::vector<std::string> unfreeze;
  BatchNormPolicy batch_norm = BatchNormPolicy::kFrozen;
  int local_epochs = 1;
  int batch_size = 32;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  AugmentationSpec augmentation;
  std::string rule;
  double server_learning_rate = 1;
  UpdateSpec update;
  EvaluationSpec evaluation;

  Bytes bytes;
  Digest hash;

  int num_classes() const { return static_cast<int>(classes.size()); }
};

}  // namespace fedgraft
