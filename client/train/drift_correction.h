#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "client/train/regularizer.h"
#include "client/train/trained_model.h"

namespace fedgraft {

// Adds the same to the gradients of every step of a round: with rule scaffold
// c - c_k, which takes this site's own direction out and puts that of all sites
// in its place (Karimireddy et al. 2020, "SCAFFOLD", algorithm 1, line 10). As
// a term of the loss it is linear, <correction, y>, and so 0 at no anchor: the
// plan's list of regularisers does not have it.
class DriftCorrection : public Regularizer {
 public:
  // Of parameters that `correction` names.
  DriftCorrection(const TrainedParameters& parameters,
                  const NamedValues& correction);
  std::string_view name() const override { return "scaffold"; }
  torch::Tensor Penalty() const override;
  void AddGradient() const override;

 private:
  std::vector<std::pair<torch::Tensor, torch::Tensor>> terms_;
};

}  // namespace fedgraft
