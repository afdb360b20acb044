#include "client/train/training_loss.h"

#include <numeric>
#include <utility>

namespace fedgraft {

std::vector<double> InverseFrequencies(const std::vector<double>& counts) {
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  std::vector<double> weights;
  for (double count : counts) {
    weights.push_back(
        count > 0 ? total / (static_cast<double>(counts.size()) * count) : 0);
  }
  return weights;
}

std::vector<double> CountClasses(const std::vector<int64_t>& labels,
                                 int classes) {
  std::vector<double> counts(classes);
  for (int64_t label : labels) counts[label] += 1;
  return counts;
}

TrainingLoss::TrainingLoss(Options options, const std::vector<int64_t>& labels,
                           const torch::Device& device)
    : options_(std::move(options)), labels_(labels), device_(device) {
  if (options_.class_weights.empty()) return;
  class_weights_ =
      torch::tensor(options_.class_weights, torch::kFloat32).to(device);
}

double TrainingLoss::Weight(const std::vector<int64_t>& images) const {
  double sum = 0;
  for (int64_t image : images) {
    sum += (options_.class_weights.empty()
                ? 1.0
                : options_.class_weights[labels_[image]]) *
           (options_.sample_weights.empty() ? 1.0
                                            : options_.sample_weights[image]);
  }
  return sum;
}

std::vector<float> TrainingLoss::SampleWeights(
    const std::vector<int64_t>& images) const {
  std::vector<float> weights;
  if (options_.sample_weights.empty()) return weights;
  for (int64_t image : images) {
    weights.push_back(options_.sample_weights[image]);
  }
  return weights;
}

torch::Tensor TrainingLoss::Sum(const torch::Tensor& logits,
                                const std::vector<int64_t>& images) const {
  std::vector<int64_t> labels;
  for (int64_t image : images) labels.push_back(labels_[image]);
  const std::vector<float> weights = SampleWeights(images);
  auto loss = torch::nn::functional::CrossEntropyFuncOptions()
                  .weight(class_weights_)
                  .label_smoothing(options_.label_smoothing);
  const torch::Tensor targets = torch::tensor(labels).to(device_);
  if (weights.empty()) {
    return torch::nn::functional::cross_entropy(logits, targets,
                                                loss.reduction(torch::kSum));
  }
  return (torch::nn::functional::cross_entropy(logits, targets,
                                               loss.reduction(torch::kNone)) *
          torch::tensor(weights).to(device_))
      .sum();
}

}  // namespace fedgraft
