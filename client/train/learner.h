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
#include "client/train/regularizer.h"
#include "client/train/session.h"
#include "client/train/site_metrics.h"
#include "client/train/trained_model.h"
#include "client/train/training_loss.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft {

// A network of which a plan trains a part.
//
//   travelling tensors   the layout: the trainable set
//   local tensors        unfrozen BatchNorm layers under policy `local`, and
//                        the head if the plan leaves it to each site
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

  // The site's own tensors. No tensor in the layout: there are none.
  const ParameterLayout& local_layout() const { return local_layout_; }
  absl::Status SetLocalValues(const ParameterVector& values);
  absl::StatusOr<ParameterVector> LocalValues();

  // All that is trained: travelling and local tensors.
  const ParameterLayout& trained_layout() const { return trained_layout_; }
  absl::Status SetTrainedValues(const ParameterVector& values);
  absl::StatusOr<ParameterVector> TrainedValues();
  // The network with every parameter that is trained in some round.
  TrainedModel model() const;

  // Records of each class at all sites, for class weights `federated`.
  void SetClassCounts(std::vector<double> counts) {
    class_counts_ = std::move(counts);
  }
  // Weight of each training image in the loss of the rounds to come; none: all
  // 1. See RecordWeights.
  void SetSampleWeights(std::vector<float> weights) {
    sample_weights_ = std::move(weights);
  }
  // Added to the gradients of every step of the rounds to come, by parameter
  // name; none: nothing (drift_correction.h). Not to those of a personal model.
  void SetDriftCorrection(NamedValues correction) {
    drift_correction_ = std::move(correction);
  }
  // Steps that the optimiser took in the newest round.
  int64_t steps() const { return steps_; }
  // Where EWC pulls to and how hard, by parameter name.
  void SetRunStart(NamedValues values, NamedValues fisher);
  bool has_run_start() const { return !anchors_.run_start.empty(); }
  const NamedValues& run_start() const { return anchors_.run_start; }

  // plan.local_epochs epochs of round `round` with fresh optimiser state.
  // Returns the mean loss of the last one (0 for no epochs).
  // FAILED_PRECONDITION: no images, a loss that is not finite, or something
  // missing that the plan needs (class counts, the run's start).
  // INVALID_ARGUMENT: labels or sample weights that do not fit.
  absl::StatusOr<double> TrainRound(int round, const ActivationStore& data,
                                    const ProgressSink& progress);
  // The same for a personal model, which the learner holds now: drawn towards
  // the shared one (of the trained layout) by plan.personal.ditto_lambda, and
  // not by FedProx.
  absl::StatusOr<double> TrainPersonalRound(int round,
                                            const ParameterVector& shared,
                                            const ActivationStore& data,
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
  absl::StatusOr<TrainingLoss> MakeLoss(const ActivationStore& data);
  // Null unless a linear head is all that is trained, plainly, on the CPU.
  std::unique_ptr<HeadTrainer> MakeHeadTrainer(int round);
  absl::StatusOr<double> Train(int round, const Anchors& anchors,
                               const NamedValues& correction,
                               const ActivationStore& data,
                               const ProgressSink& progress);

  const Plan& plan_;
  ParameterLayout layout_, local_layout_, trained_layout_;
  std::shared_ptr<Network> network_;
  const Compute& compute_;
  int boundary_ = 0;
  TrainedParameters parameters_;
  // BatchNorm layers whose statistics are learnt during training, and the
  // depths of their parameters.
  BatchNormLayers learning_layers_;
  std::vector<int> learning_depths_;
  Anchors anchors_;  // those that outlive a round
  NamedValues drift_correction_;
  int64_t steps_ = 0;
  std::vector<double> class_counts_;
  std::vector<float> sample_weights_;
  bool told_of_absent_classes_ = false;
};

}  // namespace fedgraft
