#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/clipped_gradients.h"
#include "client/train/gaussian_noise.h"
#include "client/train/regularizer.h"
#include "client/train/session.h"
#include "client/train/trained_model.h"
#include "client/train/training_loss.h"
#include "common/config/plan.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// One round of local training with differential privacy for each record
// (DP-SGD). A step draws every record with the same probability,
// independently, adds up their clipped gradients and Gaussian noise of
// noise_multiplier times the clip norm, and divides by the number of records
// that are drawn on average; regularisers and the optimiser read no data. How
// many steps there are and how records are drawn is what
// common/privacy/release_cost.h accounts for.
//
// A round done again has other noise. Use once. References outlive this.
// Methods may throw c10::Error.
class PrivateRoundTrainer {
 public:
  struct Options {
    const Plan& plan;
    int round = 1;
    const TrainedModel& model;
    const TrainingLoss& loss;
    const std::vector<std::unique_ptr<Regularizer>>& regularizers;
    const ActivationStore& data;
    RandomSource& random;
  };
  explicit PrivateRoundTrainer(const Options& options);

  // Returns the mean loss of the records drawn in the last epoch (0: none); it
  // has no noise and stays here. FAILED_PRECONDITION: a record's loss or
  // gradient that is not finite.
  absl::StatusOr<double> Run(const ProgressSink& progress) &&;

 private:
  // Sets the parameters' gradients. Adds loss and number of the records drawn.
  absl::Status Step(uint64_t run_epoch, double& loss, int64_t& drawn);
  std::vector<int64_t> Draw();

  const Options options_;
  const double rate_;
  const std::vector<torch::Tensor> parameters_;
  const std::unique_ptr<torch::optim::Optimizer> optimizer_;
  ClippedGradients gradients_;
  GaussianNoise noise_;
};

}  // namespace fedgraft
