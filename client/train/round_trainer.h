#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/head_trainer.h"
#include "client/train/regularizer.h"
#include "client/train/session.h"
#include "client/train/trained_model.h"
#include "client/train/training_loss.h"
#include "common/config/plan.h"

namespace fedgraft {

// One round of local training of a model, by the plan: epochs of steps, each
// on the mean gradient of `plan.accumulate` batches, plus the regularisers',
// cut to `plan.gradient_norm_max`. Optimiser and loss scale start anew, so that
// a round that is done again gives the same bytes.
//
// Use once. References outlive this. Methods may throw c10::Error.
class RoundTrainer {
 public:
  struct Options {
    const Plan& plan;
    int round = 1;
    const TrainedModel& model;
    // Learn their statistics meanwhile.
    const BatchNormLayers& learning_layers;
    const TrainingLoss& loss;
    const std::vector<std::unique_ptr<Regularizer>>& regularizers;
    const ActivationStore& data;
    // If set, takes the steps: the model's head is all that is trained.
    HeadTrainer* head_trainer = nullptr;
    // If set, goes up by one with every step that the optimiser takes.
    int64_t* steps = nullptr;
  };
  explicit RoundTrainer(const Options& options);

  // Returns the mean loss of the last epoch, without the regularisers' part
  // (0 for no epochs). FAILED_PRECONDITION: a loss that is not finite.
  absl::StatusOr<double> Run(const ProgressSink& progress) &&;

 private:
  // Sums over records, before the division by the weight.
  struct Sums {
    double loss = 0, weight = 0;
  };
  absl::StatusOr<double> Epoch(int epoch, const ProgressSink& progress);
  // One step on these batches of the run's epoch `run_epoch`.
  absl::StatusOr<Sums> Step(absl::Span<const std::vector<int64_t>> batches,
                            uint64_t run_epoch);
  absl::StatusOr<Sums> StepOfHead(const std::vector<int64_t>& images,
                                  uint64_t run_epoch);

  const Options options_;
  const std::vector<torch::Tensor> parameters_;
  LossScaler scaler_;
  const std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

}  // namespace fedgraft
