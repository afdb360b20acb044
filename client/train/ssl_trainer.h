#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/embedding_spread.h"
#include "client/train/projector.h"
#include "client/train/resumable_optimizer.h"
#include "client/train/self_supervised.h"

namespace fedgraft {

// The steps of self-supervised training: all of a network but its head, and a
// projector on top, BatchNorm layers by batch statistics. What a step does
// depends on the options, the images, the tensors of State() and the step's
// number only: nothing else has to be kept to go on later.
//
// Not thread-safe. May throw c10::Error.
class SslTrainer {
 public:
  // `images` holds values 0 to 1 of stage 0 on the CPU, not normalised, and at
  // least 2 of them. All outlive the trainer.
  SslTrainer(const SelfSupervisedOptions& options, Network& network,
             const ActivationStore& images, const Compute& compute);

  int64_t batch_size() const { return batch_size_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  int64_t steps() const { return steps_per_epoch_ * options_.epochs; }

  // Step 1..steps(); returns its loss. FAILED_PRECONDITION: it is not finite.
  absl::StatusOr<double> Step(int64_t step);

  // Parameters, buffers and moments by name, sharing storage.
  std::map<std::string, torch::Tensor> State();

  // Replaces BatchNorm statistics, which are those of random views, by means
  // over batches of the images as they are (Wu and Johnson, "Rethinking 'Batch'
  // in BatchNorm", 2021, section 3.1), and ends training: the network is in
  // evaluation mode afterwards.
  absl::Status Finish();

  // Of the features and the projections of up to `images_max` images, taken at
  // equal distances. REQUIRES: Finish was called.
  struct Spreads {
    EmbeddingSpread features, projections;
  };
  absl::StatusOr<Spreads> MeasureSpread(int64_t images_max);

 private:
  // Images of the step, in the epoch's order.
  std::vector<int64_t> ImagesOf(int64_t step);
  // Two views of each image: all first ones, then all second ones.
  absl::StatusOr<torch::Tensor> Views(const std::vector<int64_t>& images,
                                      uint64_t epoch);
  // (value - mean) / std, in place, on the CPU.
  void Normalise(float* chw) const;
  absl::StatusOr<torch::Tensor> PlainBatch(const std::vector<int64_t>& images);
  // [n, feature_dim]: spatial features are averaged.
  torch::Tensor Embed(const torch::Tensor& images);

  const SelfSupervisedOptions& options_;
  Network& network_;
  const ActivationStore& images_;
  const Compute& compute_;
  int64_t batch_size_ = 0, steps_per_epoch_ = 0;
  float mean_[3], scale_[3];
  std::shared_ptr<Projector> projector_;
  std::unique_ptr<ResumableOptimizer> optimizer_;
  // The order of one epoch, remembered.
  int64_t order_epoch_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace fedgraft
