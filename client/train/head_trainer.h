#pragma once

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/config/plan.h"

namespace fedgraft {

// Steps of softmax regression on given features, with the gradient in closed
// form: for a linear head a step is two small matrix products, and the
// bookkeeping of autograd would cost more than they do.
//
//   loss = mean over the batch of -log softmax(W x + b)[label], weighted
//
// The same as training the head through autograd with the plan's optimiser,
// within float rounding; the same bytes every time. Not thread-safe.
class HeadTrainer {
 public:
  // True if the plan's training of a linear head is this and nothing else: no
  // weights of classes, regularisers, clipping …
  static bool Covers(const Plan& plan);

  // `weight` [classes, d] and `bias` [classes], contiguous floats on the CPU,
  // are changed in place. Optimiser state starts anew.
  // REQUIRES: Covers(plan).
  HeadTrainer(const Plan& plan, double rate, torch::Tensor weight,
              torch::Tensor bias);

  // One step on features [n, d] with labels 0..classes-1, each with its weight
  // in sums and mean (none: all 1; else not all 0). Returns the summed loss
  // before it. FAILED_PRECONDITION: it is not finite (then nothing has
  // changed).
  absl::StatusOr<double> Step(const torch::Tensor& features,
                              const std::vector<int64_t>& labels,
                              absl::Span<const float> weights = {});

 private:
  // Turns logits into w (softmax - one-hot) / sum w; returns the summed loss.
  double Errors(const std::vector<int64_t>& labels,
                absl::Span<const float> weights);
  void Update(torch::Tensor& value, const torch::Tensor& gradient, int which);

  const OptimizerSpec spec_;
  const double rate_;
  torch::Tensor weight_, bias_;
  torch::Tensor logits_, weight_gradient_, bias_gradient_;
  // Of weight and bias: velocity, or mean and square.
  torch::Tensor first_[2], second_[2];
  int64_t steps_ = 0;
};

}  // namespace fedgraft
