#pragma once

#include <torch/torch.h>

#include <memory>
#include <string_view>
#include <vector>

#include "client/train/trained_model.h"
#include "common/config/plan.h"

namespace fedgraft {

// A term that a plan adds to the loss of every step: a function of the trained
// parameters alone, 0 where they are at its anchor. It reads no data and
// changes no statistics; the same values give the same bytes.
//
// Holds the parameters it was made for. Not thread-safe.
class Regularizer {
 public:
  virtual ~Regularizer() = default;
  // The plan's word for it.
  virtual std::string_view name() const = 0;
  // Scalar, differentiable in the parameters.
  virtual torch::Tensor Penalty() const = 0;
  // Adds the gradient of Penalty() to the parameters' gradients, without a pass
  // through autograd.
  virtual void AddGradient() const = 0;
};

// Where regularisers pull to, by parameter name. Those that are empty switch
// the regularisers off that need them.
struct Anchors {
  NamedValues pretrained;   // the backbone's trained tensors
  NamedValues round_start;  // the global model of the round
  NamedValues run_start;
  NamedValues fisher;  // diagonal, per record, at run_start
  NamedValues shared;  // training of a personal model: the shared one
};

struct RegularizerFactory {
  const char* name;
  // Null if the plan does not ask for it, or its anchor is not there.
  std::unique_ptr<Regularizer> (*make)(const Plan& plan,
                                       const TrainedParameters& parameters,
                                       const Anchors& anchors);
};

// The list of all: l2_sp, fed_prox, ewc, ditto. One more: a function in
// regularizer.cc and a line here; the conformance tests find it by themselves.
const std::vector<RegularizerFactory>& RegularizerFactories();

// Those that the plan asks for, in the order of the list.
std::vector<std::unique_ptr<Regularizer>> MakeRegularizers(
    const Plan& plan, const TrainedParameters& parameters,
    const Anchors& anchors);

}  // namespace fedgraft
