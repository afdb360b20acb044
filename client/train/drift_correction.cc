#include "client/train/drift_correction.h"

namespace fedgraft {

DriftCorrection::DriftCorrection(const TrainedParameters& parameters,
                                 const NamedValues& correction) {
  for (const TrainedParameter& parameter : parameters) {
    const auto found = correction.find(parameter.name);
    if (found == correction.end()) continue;
    terms_.emplace_back(parameter.value, found->second);
  }
}

torch::Tensor DriftCorrection::Penalty() const {
  torch::Tensor sum = torch::zeros({});
  for (const auto& [parameter, correction] : terms_) {
    sum = sum + (parameter * correction).sum();
  }
  return sum;
}

void DriftCorrection::AddGradient() const {
  torch::NoGradGuard no_grad;
  for (auto [parameter, correction] : terms_) {
    if (parameter.grad().defined()) {
      parameter.mutable_grad().add_(correction);
    } else {
      parameter.mutable_grad() = correction.clone();
    }
  }
}

}  // namespace fedgraft
