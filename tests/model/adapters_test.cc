#include "common/model/adapters.h"

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "common/model/blocks.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

Plan AdapterPlan(const std::string& architecture, AdapterKind kind,
                 std::vector<std::string> targets = {}) {
  Plan plan;
  plan.architecture = architecture;
  plan.classes = {"no", "yes"};
  plan.strategy = StrategyKind::kAdapter;
  plan.adapter.kind = kind;
  plan.adapter.targets = std::move(targets);
  plan.seed = 17;
  return plan;
}

Architecture Find(const std::string& name) { return *FindArchitecture(name); }

std::string Message(const Plan& plan) {
  const auto tensors = AdapterTensors(plan, Find(plan.architecture));
  EXPECT_EQ(tensors.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(tensors.status().message());
}

std::map<std::string, std::vector<int64_t>> Shapes(
    const std::vector<TensorSpec>& tensors) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorSpec& tensor : tensors) shapes[tensor.name] = tensor.shape;
  EXPECT_EQ(shapes.size(), tensors.size());
  return shapes;
}

TEST(BlocksTest, OwnEveryTensorOnce) {
  for (const auto& [name, count] :
       std::map<std::string, size_t>{{"resnet18", 9},
                                     {"resnet34", 17},
                                     {"resnet50", 17},
                                     {"mobilenet_v2", 19},
                                     {"squeezenet1_1", 9},
                                     {"densenet121", 62}}) {
    SCOPED_TRACE(name);
    const std::vector<Block> blocks = BlocksFromTop(Find(name));
    EXPECT_EQ(blocks.size(), count);
    for (const auto& [tensor, shape] : BackboneTensors(Find(name))) {
      int owners = 0;
      for (const Block& block : blocks) owners += block.Owns(tensor);
      EXPECT_EQ(owners, 1) << tensor;
    }
    for (const Block& block : blocks) EXPECT_FALSE(block.Owns("fc.weight"));
  }
}

TEST(BlocksTest, CountFromTheHeadDown) {
  EXPECT_EQ(BlocksFromTop(Find("resnet50"))[0].name, "layer4.2");
  EXPECT_EQ(BlocksFromTop(Find("resnet50"))[3].name, "layer3.5");
  EXPECT_EQ(BlocksFromTop(Find("mobilenet_v2"))[0].name, "features.18");
  EXPECT_EQ(BlocksFromTop(Find("squeezenet1_1"))[4].name, "features.7");
  const std::vector<Block> dense = BlocksFromTop(Find("densenet121"));
  EXPECT_TRUE(dense[0].Owns("features.norm5.weight"));
  EXPECT_TRUE(dense[0].Owns("features.denseblock4.denselayer16.conv1.weight"));
  EXPECT_EQ(dense[16].name, "features.transition3");
  EXPECT_TRUE(dense[61].Owns("features.conv0.weight"));
}

TEST(LoraTargetsTest, TakePlainConvolutionsAsMatrices) {
  const auto targets =
      LoraTargets(AdapterPlan("resnet18", AdapterKind::kLora, {"layer4.0.*"}),
                  Find("resnet18"));
  ASSERT_TRUE(targets.ok()) << targets.status();
  std::map<std::string, std::pair<int64_t, int64_t>> sides;
  for (const LoraTarget& target : *targets) {
    sides[target.layer] = {target.rows, target.columns};
  }
  EXPECT_EQ(sides, (std::map<std::string, std::pair<int64_t, int64_t>>{
                       {"layer4.0.conv1", {512, 2304}},
                       {"layer4.0.conv2", {512, 4608}},
                       {"layer4.0.downsample.0", {512, 256}}}));
}

TEST(LoraTargetsTest, SkipDepthwiseAndSevenBySevenConvolutions) {
  std::set<std::string> layers;
  for (const char* name : {"mobilenet_v2", "resnet18"}) {
    const auto targets =
        LoraTargets(AdapterPlan(name, AdapterKind::kLora), Find(name));
    ASSERT_TRUE(targets.ok()) << targets.status();
    for (const LoraTarget& target : *targets) {
      layers.insert(target.layer);
    }
  }
  EXPECT_TRUE(layers.contains("features.17.conv.0.0"));   // 1x1
  EXPECT_FALSE(layers.contains("features.17.conv.1.0"));  // depthwise
  EXPECT_TRUE(layers.contains("features.17.conv.2"));     // 1x1
  EXPECT_TRUE(layers.contains("features.0.0"));           // 3x3
  EXPECT_FALSE(layers.contains("conv1"));                 // 7x7
  EXPECT_FALSE(layers.contains("fc"));
}

TEST(AdapterTensorsTest, WhatTravelsDependsOnTheKind) {
  const std::vector<std::string> globs = {"features.18.*"};
  const Architecture architecture = Find("mobilenet_v2");
  using Expected = std::map<std::string, std::vector<int64_t>>;
  EXPECT_EQ(Shapes(*AdapterTensors(
                AdapterPlan("mobilenet_v2", AdapterKind::kLora, globs),
                architecture)),
            (Expected{{"features.18.0.lora_b", {1280, 8}}}));
  EXPECT_EQ(Shapes(*AdapterTensors(
                AdapterPlan("mobilenet_v2", AdapterKind::kLoraPlain, globs),
                architecture)),
            (Expected{{"features.18.0.lora_a", {8, 320}},
                      {"features.18.0.lora_b", {1280, 8}}}));
  EXPECT_EQ(Shapes(*AdapterTensors(
                AdapterPlan("mobilenet_v2", AdapterKind::kBottleneck,
                            {"features.17.conv.0.0.weight"}),
                architecture)),
            (Expected{{"features.17.adapter.down.weight", {40, 320, 1, 1}},
                      {"features.17.adapter.down.bias", {40}},
                      {"features.17.adapter.up.weight", {320, 40, 1, 1}},
                      {"features.17.adapter.up.bias", {320}}}));
  // bn_tune trains the backbone's own tensors.
  EXPECT_TRUE(AdapterTensors(AdapterPlan("mobilenet_v2",
                                         AdapterKind::kBatchNormTune, globs),
                             architecture)
                  ->empty());
  Plan full = AdapterPlan("mobilenet_v2", AdapterKind::kLora);
  full.strategy = StrategyKind::kFull;
  EXPECT_TRUE(AdapterTensors(full, architecture)->empty());
}

TEST(AdapterTensorsTest, BottlenecksStandBehindDenseBlocksNotLayers) {
  const auto targets =
      BottleneckTargets(AdapterPlan("densenet121", AdapterKind::kBottleneck),
                        Find("densenet121"));
  ASSERT_TRUE(targets.ok());
  ASSERT_EQ(targets->size(), 4u);
  EXPECT_EQ((*targets)[0].block, "features.denseblock4.denselayer16");
  EXPECT_EQ((*targets)[0].hidden, 128);
  EXPECT_EQ((*targets)[3].channels, 256);
}

TEST(AdapterTensorsTest, RefusalsSayHowToMendThePlan) {
  EXPECT_EQ(Message(AdapterPlan("resnet18", AdapterKind::kLora,
                                {"layer4.*", "layer5.*"})),
            "strategy.adapter.targets: \"layer5.*\" matches no tensor of "
            "resnet18; expected weights of linear layers or of 1x1 or 3x3 "
            "convolutions that are not depthwise");
  EXPECT_THAT(Message(AdapterPlan("mobilenet_v2", AdapterKind::kLora,
                                  {"features.17.conv.1.0.weight"})),
              HasSubstr("matches only tensors that cannot have this adapter"));
  EXPECT_THAT(
      Message(AdapterPlan("resnet18", AdapterKind::kLoraPlain, {"*.bn1.*"})),
      HasSubstr("cannot have this adapter"));
  EXPECT_THAT(
      Message(AdapterPlan("resnet18", AdapterKind::kBottleneck, {"conv1.*"})),
      HasSubstr("expected parameters of blocks"));
  EXPECT_THAT(Message(AdapterPlan("resnet18", AdapterKind::kBatchNormTune,
                                  {"layer4.0.conv1.weight"})),
              HasSubstr("expected names of BatchNorm layers"));
  EXPECT_THAT(
      Message(AdapterPlan("squeezenet1_1", AdapterKind::kBatchNormTune)),
      HasSubstr("expected lora, lora_plain or bottleneck"));
  Plan plan = AdapterPlan("squeezenet1_1", AdapterKind::kLora);
  plan.adapter.rank = 17;
  EXPECT_THAT(Message(plan),
              HasSubstr("found 17; features.3.expand1x1.weight is a matrix "
                        "of 64 x 16; expected at most 16, or "
                        "strategy.adapter.targets without it"));
  plan.adapter.rank = 16;
  EXPECT_TRUE(AdapterTensors(plan, Find("squeezenet1_1")).ok());
  plan = AdapterPlan("mobilenet_v2", AdapterKind::kBottleneck);
  plan.adapter.reduction = 17;
  EXPECT_THAT(Message(plan), HasSubstr("expected at most 16"));
}

TEST(LoraATest, DependsOnSeedAndNameOnly) {
  Plan plan = AdapterPlan("resnet18", AdapterKind::kLora);
  const LoraTarget target{"layer4.0.conv1", 512, 2304};
  const std::vector<float> a = LoraA(plan, target);
  ASSERT_EQ(a.size(), 8u * 2304);
  double squares = 0;
  for (float value : a) squares += value * value;
  // Variance 1 / columns, five standard errors: a false alarm in a million.
  EXPECT_NEAR(squares / 8, 1, 5 * std::sqrt(2.0 / a.size()));
  plan.adapter.targets = {"layer4.*"};
  EXPECT_EQ(LoraA(plan, target), a);
  EXPECT_NE(LoraA(plan, {"layer4.0.conv2", 512, 2304}), a);
  plan.seed = 18;
  EXPECT_NE(LoraA(plan, target), a);
}

// From an independent implementation (Python's hashlib and a Mersenne twister).
TEST(LoraATest, IsTheSameOnEveryMachine) {
  const std::vector<float> a =
      LoraA(AdapterPlan("resnet18", AdapterKind::kLora),
            {"layer4.0.conv1", 512, 2304});
  EXPECT_EQ(a[0], 0.00109434093f);
  EXPECT_EQ(a[1], -0.032911703f);
  EXPECT_EQ(a[2304], -0.000918685342f);
}

TEST(HeadTensorsTest, HiddenBranchHasShapesOfTheHeadsKind) {
  Plan plan;
  plan.classes = {"a", "b", "c"};
  plan.hidden_dim = 16;
  using Expected = std::map<std::string, std::vector<int64_t>>;
  EXPECT_EQ(Shapes(HeadTensors(plan, Find("resnet18"))),
            (Expected{{"fc.weight", {3, 512}},
                      {"fc.bias", {3}},
                      {"fc.hidden.weight", {16, 512}},
                      {"fc.hidden.bias", {16}},
                      {"fc.out.weight", {3, 16}}}));
  EXPECT_EQ(Shapes(HeadTensors(plan, Find("squeezenet1_1"))),
            (Expected{{"classifier.1.weight", {3, 512, 1, 1}},
                      {"classifier.1.bias", {3}},
                      {"classifier.1.hidden.weight", {16, 512, 1, 1}},
                      {"classifier.1.hidden.bias", {16}},
                      {"classifier.1.out.weight", {3, 16, 1, 1}}}));
}

TEST(GraftedStartTest, EndsOfBranchesAreZero) {
  const Plan plan = AdapterPlan("resnet18", AdapterKind::kLora);
  const Architecture architecture = Find("resnet18");
  const auto start = [&](const std::string& name, std::vector<int64_t> shape) {
    return GraftedStart(plan, architecture, {name, std::move(shape)});
  };
  const std::vector<float> zeros(8, 0.0f);
  EXPECT_EQ(start("layer1.0.conv1.lora_b", {4, 2}), zeros);
  EXPECT_EQ(start("layer1.0.adapter.up.weight", {4, 2, 1, 1}), zeros);
  EXPECT_EQ(start("layer1.0.adapter.down.bias", {8}), zeros);
  EXPECT_EQ(start("fc.out.weight", {2, 4}), zeros);
  EXPECT_EQ(start("fc.hidden.bias", {8}), zeros);
  EXPECT_NE(start("fc.hidden.weight", {2, 4}), zeros);
  EXPECT_NE(start("layer1.0.adapter.down.weight", {2, 4, 1, 1}), zeros);
  EXPECT_EQ(start("layer1.0.conv1.lora_a", {8, 2304}),
            LoraA(plan, {"layer1.0.conv1", 512, 2304}));
  EXPECT_TRUE(start("layer1.0.conv1.weight", {8}).empty());
  EXPECT_TRUE(start("fc.weight", {2, 4}).empty());
}

}  // namespace
}  // namespace fedgraft
