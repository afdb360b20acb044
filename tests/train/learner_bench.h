#pragma once

#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "client/model/network_state.h"
#include "client/train/learner.h"
#include "common/base/check.h"
#include "common/model/trainable_set.h"
#include "tests/train/fixture.h"

namespace fedgraft::testing {

// One learner with its data, made of a plan.
struct Bench {
  explicit Bench(Plan plan_in, FakeSource::Options data = {})
      : plan(std::move(plan_in)),
        source(data),
        preprocessor(*Preprocessor::Create(plan.preprocessing)),
        network(SeededNetwork(plan.architecture, plan.num_classes())) {
    const SafetensorsFile file =
        *SafetensorsFile::Parse(*EncodeState(*network, {}), "seeded");
    auto layout = *TrainableLayout(plan, file);
    initial = *InitialTrainableSet(plan, layout, file);
    learner = *Learner::Create(plan, layout, network, compute);
    FG_CHECK(learner->SetValues(initial).ok());
    if (learner->local_layout().Count() > 0) {
      FG_CHECK(learner
                   ->SetLocalValues(*InitialTrainableSet(
                       plan, learner->local_layout(), file))
                   .ok());
    }
    ActivationStore::Options options;
    options.network = network.get();
    options.compute = &compute;
    options.source = &source;
    options.preprocessor = &preprocessor;
    options.stage = plan.augmentation.any() ? 0 : learner->boundary();
    store = *ActivationStore::Create(options, Silent);
  }
  // Copies of every tensor of the network.
  std::map<std::string, torch::Tensor> Snapshot() {
    std::map<std::string, torch::Tensor> copy;
    for (const auto& [name, tensor] : NamedTensors(*network)) {
      copy[name] = tensor.detach().clone();
    }
    return copy;
  }

  Plan plan;
  FakeSource source;
  Compute compute;
  Preprocessor preprocessor;
  std::shared_ptr<Network> network;
  ParameterVector initial;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<ActivationStore> store;
};

// Activations of all images of a store, in order.
inline torch::Tensor AllRows(const ActivationStore& store) {
  std::vector<int64_t> all(store.count());
  std::iota(all.begin(), all.end(), 0);
  return *store.Batch(all);
}

}  // namespace fedgraft::testing
