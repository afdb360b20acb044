#include "client/train/trained_model.h"

namespace fedgraft {

std::vector<int> StageDepths(Network& network) {
  std::vector<bool> has_parameters(network.stage_count());
  for (const auto& item : network.named_parameters()) {
    has_parameters[network.StageOf(item.key())] = true;
  }
  std::vector<int> depths(network.stage_count());
  int depth = 0;
  for (int stage = network.head_stage() - 1; stage >= 0; --stage) {
    depths[stage] = has_parameters[stage] ? ++depth : depth + 1;
  }
  return depths;
}

TrainedParameters FindTrained(const std::set<std::string>& names,
                              Network& network) {
  const std::vector<int> depths = StageDepths(network);
  TrainedParameters parameters;
  for (const auto& item : network.named_parameters()) {
    if (!names.contains(item.key())) continue;
    parameters.push_back(
        {item.key(), item.value(), depths[network.StageOf(item.key())]});
  }
  return parameters;
}

std::vector<torch::Tensor> ValuesOf(const TrainedParameters& parameters) {
  std::vector<torch::Tensor> values;
  values.reserve(parameters.size());
  for (const TrainedParameter& parameter : parameters) {
    values.push_back(parameter.value);
  }
  return values;
}

NamedValues CopyValues(const TrainedParameters& parameters) {
  NamedValues copies;
  for (const TrainedParameter& parameter : parameters) {
    copies[parameter.name] = parameter.value.detach().clone();
  }
  return copies;
}

void SetValues(const NamedValues& values, const TrainedParameters& parameters) {
  torch::NoGradGuard no_grad;
  for (const TrainedParameter& parameter : parameters) {
    const auto value = values.find(parameter.name);
    if (value == values.end()) continue;
    torch::Tensor target = parameter.value;
    target.copy_(value->second);
  }
}

NamedValues ToNamedValues(const ParameterLayout& layout,
                          const ParameterVector& values,
                          const torch::Device& device) {
  NamedValues named;
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    // from_blob wants a mutable pointer; the clone is what is kept.
    float* data = const_cast<float*>(values.data()) + layout.Offset(i);
    named[layout.tensors()[i].name] =
        torch::from_blob(data, layout.tensors()[i].shape).clone().to(device);
  }
  return named;
}

torch::Tensor TrainedModel::Logits(const torch::Tensor& activations,
                                   int stage) const {
  AutocastScope autocast(*compute);
  torch::Tensor hidden = activations;
  if (stage < boundary) {
    torch::NoGradGuard no_grad;
    hidden = network->Run(hidden, stage, boundary);
    stage = boundary;
  }
  return network->Run(hidden, stage, network->stage_count())
      .to(torch::kFloat32);
}

StatisticsTraining::StatisticsTraining(const BatchNormLayers& layers)
    : layers_(layers) {
  for (const auto& layer : layers_) layer->train(true);
}

StatisticsTraining::~StatisticsTraining() {
  for (const auto& layer : layers_) layer->train(false);
}

}  // namespace fedgraft
