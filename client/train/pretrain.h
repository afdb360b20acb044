#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/train/session.h"
#include "common/base/digest.h"
#include "common/config/plan.h"

namespace fedgraft {

// Supervised training of a whole network at one place, to make a backbone for
// federated fine-tuning.
struct PretrainOptions {
  std::string architecture = "resnet18";
  std::vector<std::string> classes;
  std::string start_path;  // backbone to start from; empty: from scratch
  std::string out_path;    // safetensors; the card goes to <out_path>.json
  PreprocessingSpec preprocessing;
  int epochs = 3;
  int batch_size = 32;
  OptimizerSpec optimizer;  // its rate falls as a cosine over the epochs
  AugmentationSpec augmentation;
  // Strength of simulated scanner differences, 0 to 1: jittered_source.h.
  double scanner_jitter = 0;
  uint64_t seed = 0;
  ComputeSpec compute;
};

// After each epoch; `metrics` of the validation split (empty if there is none).
struct PretrainEpoch {
  int epoch = 0, epochs = 0;
  double loss = 0, seconds = 0;
  std::map<std::string, double> metrics;
};

// Returns the SHA-256 of the file written. Same options, same bytes.
// INVALID_ARGUMENT: options or start file; FAILED_PRECONDITION: training
// diverged. Nothing is written then.
absl::StatusOr<Digest> Pretrain(
    const PretrainOptions& options, const DataSource& data, const Clock& clock,
    const std::function<void(const PretrainEpoch&)>& on_epoch);

}  // namespace fedgraft
