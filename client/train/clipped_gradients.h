#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/trained_model.h"
#include "client/train/training_loss.h"

namespace fedgraft {

// Sums of gradients, each of one record's loss and scaled down to an L2 norm of
// at most `clip_norm` over all parameters: no record moves a sum by more.
// (Abadi et al., "Deep Learning with Differential Privacy", 2016, algorithm 1.)
//
// If a linear head is all that is trained, a record's gradient is an outer
// product, whose norm follows from its factors, and the clipped sum is one
// matrix product. Else each record has a pass through autograd of its own: one
// gradient in memory at a time, whatever is trained.
//
// References outlive this. Not thread-safe. Methods may throw c10::Error.
class ClippedGradients {
 public:
  struct Options {
    const TrainedModel& model;
    const TrainingLoss& loss;  // every record weighs 1
    double label_smoothing = 0;
    double clip_norm = 1;
    // For tests: a pass for each record also where a head is all there is.
    bool always_by_record = false;
  };
  explicit ClippedGradients(const Options& options);

  // Sets the sums to zero.
  void Clear();
  // Adds the gradients of these records, whose activations enter `stage`.
  // Returns their summed loss. FAILED_PRECONDITION: a loss or gradient that is
  // not finite.
  absl::StatusOr<double> Add(const torch::Tensor& activations, int stage,
                             const std::vector<int64_t>& images,
                             const std::vector<int64_t>& labels);
  // One for each parameter of the model, on its device.
  std::vector<torch::Tensor>& sums() { return sums_; }

 private:
  absl::StatusOr<double> AddToHead(const torch::Tensor& features,
                                   const std::vector<int64_t>& labels);
  absl::StatusOr<double> AddRecord(const torch::Tensor& activation, int stage,
                                   int64_t image);

  const Options options_;
  const std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> sums_;
  // Of the head, if it is linear and all that is trained; else -1.
  int weight_ = -1, bias_ = -1;
};

}  // namespace fedgraft
