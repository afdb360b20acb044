#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace fedgraft {

// Weight of each class in the loss, n / (C n_c) for the counts n_c of n records
// in C classes: every class then counts as much. 0 for a class without records.
std::vector<double> InverseFrequencies(const std::vector<double>& counts);

// Records of each class. REQUIRES: labels are 0..classes-1.
std::vector<double> CountClasses(const std::vector<int64_t>& labels,
                                 int classes);

// Weighted cross-entropy with label smoothing. The loss of a step is the sum
// over its records of Sum(), divided by the sum of Weight(): torch's weighted
// mean (`CrossEntropyLoss(weight, label_smoothing)`), with a record's weight
// multiplying both sums. A record of weight 0 is thus as if it were not there,
// one of weight 2 as if it were there twice.
class TrainingLoss {
 public:
  struct Options {
    double label_smoothing = 0;
    std::vector<double> class_weights;  // empty: all 1
    std::vector<float> sample_weights;  // by image; empty: all 1
  };
  // `labels`, by image, outlive this.
  TrainingLoss(Options options, const std::vector<int64_t>& labels,
               const torch::Device& device);

  double Weight(const std::vector<int64_t>& images) const;
  // Of these images; empty: all 1.
  std::vector<float> SampleWeights(const std::vector<int64_t>& images) const;
  // Scalar. `logits` [n, classes] are of these images.
  torch::Tensor Sum(const torch::Tensor& logits,
                    const std::vector<int64_t>& images) const;

 private:
  const Options options_;
  const std::vector<int64_t>& labels_;
  const torch::Device device_;
  torch::Tensor class_weights_;  // undefined: all 1
};

}  // namespace fedgraft
