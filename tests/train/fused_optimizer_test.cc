#include "client/train/fused_optimizer.h"

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using torch::optim::AdamWOptions;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGDOptions;

using Values = std::vector<torch::Tensor>;

// One contiguous, one with its channels last, one without a gradient at times.
Values Start() {
  torch::manual_seed(4);
  return {
      torch::randn({50, 7}),
      torch::randn({8, 6, 3, 3}).contiguous(torch::MemoryFormat::ChannelsLast),
      torch::randn({40000})};
}

// Ten steps with seeded gradients.
void TakeSteps(torch::optim::Optimizer& optimizer, Values& values) {
  torch::manual_seed(5);
  for (int step = 0; step < 10; ++step) {
    for (torch::Tensor& value : values) {
      value.mutable_grad() = torch::randn(value.sizes());
    }
    if (step % 3 == 1) values[2].mutable_grad().reset();
    optimizer.step();
  }
}

std::vector<OptimizerParamGroup> Groups(const Values& values) {
  return {OptimizerParamGroup({values[0]}),
          OptimizerParamGroup({values[1], values[2]})};
}

void ExpectSame(const Values& ours, const Values& theirs) {
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(torch::allclose(ours[i], theirs[i], 1e-5, 1e-6))
        << i << ": " << (ours[i] - theirs[i]).abs().max().item<float>();
  }
}

TEST(FusedOptimizerTest, StepsAsTorchsSgd) {
  for (double momentum : {0.0, 0.9}) {
    for (double decay : {0.0, 0.1}) {
      SGDOptions options(0.05);
      options.momentum(momentum).weight_decay(decay);
      Values ours = Start(), theirs = Start();
      auto fused = MakeSgd(Groups(ours), options);
      // The second group at a rate of its own.
      auto rate = [](torch::optim::Optimizer& optimizer) {
        static_cast<SGDOptions&>(optimizer.param_groups()[1].options())
            .lr(0.01);
      };
      torch::optim::SGD reference(Groups(theirs), options);
      rate(*fused);
      rate(reference);
      TakeSteps(*fused, ours);
      TakeSteps(reference, theirs);
      ExpectSame(ours, theirs);
      EXPECT_FALSE(torch::allclose(ours[1], Start()[1], 1e-2, 1e-2));
    }
  }
}

TEST(FusedOptimizerTest, StepsAsTorchsAdamW) {
  for (double decay : {0.0, 0.1}) {
    AdamWOptions options(0.01);
    options.betas(std::make_tuple(0.8, 0.99)).weight_decay(decay);
    Values ours = Start(), theirs = Start();
    auto fused = MakeAdamW(Groups(ours), options);
    torch::optim::AdamW reference(Groups(theirs), options);
    TakeSteps(*fused, ours);
    TakeSteps(reference, theirs);
    ExpectSame(ours, theirs);
    EXPECT_FALSE(torch::allclose(ours[1], Start()[1], 1e-2, 1e-2));
  }
}

TEST(FusedOptimizerTest, GivesTheSameBytesOnAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  std::vector<Values> results;
  for (int count : {1, 2}) {
    at::set_num_threads(count);
    results.push_back(Start());
    auto fused = MakeSgd(Groups(results.back()), SGDOptions(0.1).momentum(0.9));
    TakeSteps(*fused, results.back());
  }
  at::set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(torch::equal(results[0][i], results[1][i]));
  }
}

}  // namespace
}  // namespace fedgraft
