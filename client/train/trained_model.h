#pragma once

#include <torch/torch.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/model/network.h"
#include "client/train/compute.h"
#include "common/model/parameter_layout.h"

namespace fedgraft {

// One parameter that a plan trains.
struct TrainedParameter {
  std::string name;
  torch::Tensor value;  // the network's own
  // 0 for the head, k for the k-th block below it. A block is a stage that has
  // parameters, trained or not.
  int depth = 0;
};
using TrainedParameters = std::vector<TrainedParameter>;

// Values that belong to parameters, by their names.
using NamedValues = std::map<std::string, torch::Tensor>;

// The parameters with these names, in the network's order.
TrainedParameters FindTrained(const std::set<std::string>& names,
                              Network& network);
// Depth of each stage: that of its parameters, or of the next block below.
std::vector<int> StageDepths(Network& network);

std::vector<torch::Tensor> ValuesOf(const TrainedParameters& parameters);
// Copies of the values as they are now.
NamedValues CopyValues(const TrainedParameters& parameters);
// Sets those that `values` names.
void SetValues(const NamedValues& values, const TrainedParameters& parameters);

// The flat vector cut into tensors on `device`.
NamedValues ToNamedValues(const ParameterLayout& layout,
                          const ParameterVector& values,
                          const torch::Device& device);

// A network with the parameters that are trained now. Stages before `boundary`
// hold none of them. A view: what it points to outlives it.
struct TrainedModel {
  Network* network = nullptr;
  const Compute* compute = nullptr;
  int boundary = 0;
  TrainedParameters parameters;

  // Logits [n, classes], F32, of activations that enter `stage`; differentiable
  // in the parameters.
  torch::Tensor Logits(const torch::Tensor& activations, int stage) const;
};

using BatchNormLayers =
    std::vector<std::shared_ptr<torch::nn::BatchNorm2dImpl>>;

// While it lives, these layers normalise by the batch and learn statistics.
class StatisticsTraining {
 public:
  explicit StatisticsTraining(const BatchNormLayers& layers);
  ~StatisticsTraining();
  StatisticsTraining(const StatisticsTraining&) = delete;
  StatisticsTraining& operator=(const StatisticsTraining&) = delete;

 private:
  const BatchNormLayers& layers_;
};

}  // namespace fedgraft
