#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/head_trainer.h"
#include "client/train/session.h"
#include "client/train/site_metrics.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft {

// A network of which a plan trains a part.
//
//   travelling tensors   the layout: the trainable set
//   local tensors        unfrozen BatchNorm layers under policy `local`
//   everything else      frozen, in evaluation mode, never changes
//
// Stages before boundary() hold frozen tensors only.
//
// Not thread-safe. Methods may throw c10::Error; the session catches it.
class Learner {
 public:
  // Takes a network that holds the backbone's values; the head's do not
  // matter until SetValues. INVALID_ARGUMENT: the layout is not of this
  // network. `plan` and `compute` outlive the learner.
  static absl::StatusOr<std::unique_ptr<Learner>> Create(
      const Plan& plan, ParameterLayout layout,
      std::shared_ptr<Network> network, const Compute& compute);

  const ParameterLayout& layout() const { return layout_; }
  Network& network() { return *network_; }
  // First stage with a tensor that is trained.
  int boundary() const { return boundary_; }

  absl::Status SetValues(const ParameterVector& values);
  absl::StatusOr<ParameterVector> Values();

  // The site's own BatchNorm tensors. No tensor in the layout: there are none.
  const ParameterLayout& local_layout() const { return local_layout_; }
  absl::Status SetLocalValues(const ParameterVector& values);
  absl::StatusOr<ParameterVector> LocalValues();

  // plan.local_epochs epochs of round `round` with fresh optimiser state.
  // Returns the mean loss of the last one (0 for no epochs).
  // FAILED_PRECONDITION: no images, or a loss that is not finite.
  absl::StatusOr<double> TrainRound(int round, const ActivationStore& data,
                                    const ProgressSink& progress);

  // Replaces the statistics of the BatchNorm layers that learn them by plain
  // means over `batches` batches of the first epoch's order, with the weights
  // as they are now: the running ones lag behind weights that moved fast. (Wu
  // and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3.1.)
  absl::Status RefreshStatistics(const ActivationStore& data, int batches);

  // INVALID_ARGUMENT: a label outside the classes.
  absl::StatusOr<Predictions> Predict(const ActivationStore& data,
                                      const ProgressSink& progress);

 private:
  Learner(const Plan& plan, ParameterLayout layout,
          std::shared_ptr<Network> network, const Compute& compute)
      : plan_(plan),
        layout_(std::move(layout)),
        network_(std::move(network)),
        compute_(compute) {}
  absl::Status Prepare();
  absl::Status FindLocalTensors();
  std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(int round);
  // Null unless a linear head is all that is trained, on the CPU.
  std::unique_ptr<HeadTrainer> MakeHeadTrainer(int round);
  // Mean loss of epoch `epoch` (from 0) of a round.
  absl::StatusOr<double> TrainEpoch(int round, int epoch,
                                    const ActivationStore& data,
                                    LossScaler& scaler,
                                    torch::optim::Optimizer& optimizer,
                                    const ProgressSink& progress);
  // One step; returns the summed loss of the batch.
  absl::StatusOr<double> Step(const torch::Tensor& activations,
                              const std::vector<int64_t>& labels, int stage,
                              LossScaler& scaler,
                              torch::optim::Optimizer& optimizer);

  const Plan& plan_;
  ParameterLayout layout_, local_layout_;
  std::shared_ptr<Network> network_;
  const Compute& compute_;
  int boundary_ = 0;
  std::vector<torch::Tensor> trained_;  // parameters that require gradients
  // During TrainRound, if it covers what the plan trains.
  std::unique_ptr<HeadTrainer> head_trainer_;
  // BatchNorm layers whose statistics are learnt during training.
  std::vector<std::shared_ptr<torch::nn::BatchNorm2dImpl>> learning_layers_;
};

}  // namespace fedgraft
