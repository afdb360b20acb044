#include "client/model/network.h"

#include <map>
#include <string>

#include "client/model/network_state.h"
#include "common/model/trainable_set.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::TestWithParam;
using ::testing::Values;

struct Known {
  const char* name;
  int64_t parameters;  // of torchvision's model with 1000 classes
  int64_t feature_dim;
  int64_t tensors;  // entries of its state_dict
};

void PrintTo(const Known& known, std::ostream* out) { *out << known.name; }

std::shared_ptr<Network> Make(const std::string& name, int64_t classes,
                              uint64_t seed = 1) {
  std::shared_ptr<Network> network = *BuildModel(name, classes);
  InitializeFromScratch(*network, seed);
  network->eval();
  return network;
}

SafetensorsFile Encoded(Network& network) {
  return *SafetensorsFile::Parse(*EncodeState(network, {}), "network");
}

class ArchitectureTest : public TestWithParam<Known> {};

INSTANTIATE_TEST_SUITE_P(All, ArchitectureTest,
                         Values(Known{"resnet18", 11689512, 512, 122},
                                Known{"resnet34", 21797672, 512, 218},
                                Known{"resnet50", 25557032, 2048, 320},
                                Known{"densenet121", 7978856, 1024, 727},
                                Known{"mobilenet_v2", 3504872, 1280, 314},
                                Known{"squeezenet1_1", 1235496, 512, 52}),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST_P(ArchitectureTest, HasTorchvisionsSize) {
  auto network = Make(GetParam().name, 1000);
  int64_t count = 0;
  for (const auto& parameter : network->parameters()) {
    count += parameter.numel();
  }
  EXPECT_EQ(count, GetParam().parameters);
  EXPECT_EQ(static_cast<int64_t>(NamedTensors(*network).size()),
            GetParam().tensors);
}

TEST_P(ArchitectureTest, AgreesWithTheTorchFreeDescription) {
  auto network = Make(GetParam().name, 3);
  const Architecture architecture = *FindArchitecture(GetParam().name);
  EXPECT_EQ(network->head_prefix(), architecture.head_prefix);
  EXPECT_EQ(GetParam().feature_dim, architecture.feature_dim);
  const SafetensorsFile file = Encoded(*network);
  for (auto strategy : {StrategyKind::kLinearProbe, StrategyKind::kPartial,
                        StrategyKind::kFull}) {
    for (auto policy : {BatchNormPolicy::kFrozen, BatchNormPolicy::kLocal,
                        BatchNormPolicy::kPooled}) {
      Plan plan;
      plan.architecture = GetParam().name;
      plan.classes = {"a", "b", "c"};
      plan.strategy = strategy;
      plan.unfreeze = {"*"};
      plan.batch_norm = policy;
      const auto layout = TrainableLayout(plan, file);
      ASSERT_TRUE(layout.ok()) << layout.status();
      EXPECT_TRUE(ExtractParameters(*layout, *network).ok());
      if (strategy == StrategyKind::kFull &&
          policy == BatchNormPolicy::kPooled) {
        EXPECT_EQ(layout->digest(), WholeLayout(*network)->digest());
      }
    }
  }
}

TEST_P(ArchitectureTest, RunsInPartsAsInOne) {
  torch::NoGradGuard no_grad;
  auto network = Make(GetParam().name, 4);
  torch::manual_seed(2);
  const torch::Tensor x = torch::randn({2, 3, 64, 64});
  const torch::Tensor whole = network->forward(x);
  EXPECT_EQ(whole.sizes(), (std::vector<int64_t>{2, 4}));
  EXPECT_TRUE(torch::equal(network->Head(network->Features(x)), whole));
  for (int cut = 1; cut < network->stage_count(); ++cut) {
    const torch::Tensor y =
        network->Run(network->Run(x, 0, cut), cut, network->stage_count());
    EXPECT_TRUE(torch::equal(y, whole)) << "cut before stage " << cut;
  }
}

TEST_P(ArchitectureTest, OwnsEachTensorInOneStageInOrder) {
  auto network = Make(GetParam().name, 2);
  for (const auto& [name, tensor] : NamedTensors(*network)) {
    const int stage = network->StageOf(name);
    EXPECT_EQ(stage == network->head_stage(),
              name.rfind(network->head_prefix() + ".", 0) == 0)
        << name;
  }
  EXPECT_EQ(network->StageOf(network->head_prefix() + ".weight"),
            network->head_stage());
}

TEST_P(ArchitectureTest, StateSurvivesAFile) {
  auto written = Make(GetParam().name, 3, 5);
  auto read = Make(GetParam().name, 3, 6);
  ASSERT_TRUE(LoadState(Encoded(*written), HeadPolicy::kRequire, *read).ok());
  auto expected = NamedTensors(*written);
  for (const auto& [name, tensor] : NamedTensors(*read)) {
    EXPECT_TRUE(torch::equal(tensor, expected[name])) << name;
  }
}

TEST(BuildModelTest, RefusesWhatItDoesNotKnow) {
  const auto unknown = BuildModel("vgg16", 2);
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(unknown.status().message()).find("mobilenet_v2"),
            std::string::npos);
  EXPECT_FALSE(BuildModel("resnet18", 0).ok());
}

TEST(InitializeFromScratchTest, DependsOnTheSeedOnly) {
  auto a = Make("resnet18", 2, 7), b = Make("resnet18", 2, 7);
  auto c = Make("resnet18", 2, 8);
  auto layout = *WholeLayout(*a);
  EXPECT_EQ(*ExtractParameters(layout, *a), *ExtractParameters(layout, *b));
  EXPECT_NE(*ExtractParameters(layout, *a), *ExtractParameters(layout, *c));
}

// Edits the encoded state of a network before it is loaded.
class LoadStateTest : public ::testing::Test {
 protected:
  LoadStateTest() {
    for (const auto& [name, tensor] : NamedTensors(*source_)) {
      tensors_[name] = {
          tensor.scalar_type() == torch::kInt64 ? DType::kI64 : DType::kF32,
          tensor.sizes().vec(),
          {static_cast<const uint8_t*>(tensor.data_ptr()), tensor.nbytes()}};
    }
  }
  absl::Status Load(HeadPolicy head) {
    auto file = SafetensorsFile::Parse(*EncodeSafetensors(tensors_, {}), "f");
    return LoadState(*file, head, *target_);
  }
  std::string Message(HeadPolicy head) {
    const absl::Status status = Load(head);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

  std::shared_ptr<Network> source_ = Make("resnet18", 1000, 1);
  std::shared_ptr<Network> target_ = Make("resnet18", 2, 2);
  std::map<std::string, TensorToWrite> tensors_;
};

TEST_F(LoadStateTest, IgnoresThePretrainedHead) {
  EXPECT_TRUE(Load(HeadPolicy::kIgnore).ok());
  EXPECT_TRUE(torch::equal(NamedTensors(*target_)["conv1.weight"],
                           NamedTensors(*source_)["conv1.weight"]));
}

TEST_F(LoadStateTest, RequiresTheHeadOfAnExport) {
  EXPECT_NE(Message(HeadPolicy::kRequire)
                .find("fc.weight ([1000, 512] instead of [2, 512])"),
            std::string::npos);
}

TEST_F(LoadStateTest, NamesEveryDefectAndChangesNothing) {
  const torch::Tensor before =
      NamedTensors(*target_)["conv1.weight"].detach().clone();
  tensors_.erase("layer1.0.conv1.weight");
  tensors_["stray"] = tensors_["bn1.bias"];
  tensors_["bn1.weight"].shape = {8, 8};
  const float nan[64] = {NAN};
  tensors_["bn1.running_mean"].data = {reinterpret_cast<const uint8_t*>(nan),
                                       sizeof(nan)};
  const std::string message = Message(HeadPolicy::kIgnore);
  for (const char* part :
       {"1 missing: layer1.0.conv1.weight", "1 unexpected: stray",
        "1 misshapen: bn1.weight ([8, 8] instead of [64])",
        "1 unusable: bn1.running_mean (has values that are not finite)"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  EXPECT_TRUE(torch::equal(NamedTensors(*target_)["conv1.weight"], before));
}

TEST_F(LoadStateTest, ListsAtMostTen) {
  for (auto it = tensors_.begin(); it != tensors_.end();) {
    it = it->first.rfind("layer3", 0) == 0 ? tensors_.erase(it) : ++it;
  }
  EXPECT_NE(Message(HeadPolicy::kIgnore).find(" more"), std::string::npos);
}

TEST_F(LoadStateTest, DoesWithoutBatchCounters) {
  tensors_.erase("bn1.num_batches_tracked");
  EXPECT_TRUE(Load(HeadPolicy::kIgnore).ok());
}

TEST(ApplyParametersTest, IsUndoneByExtract) {
  auto network = Make("squeezenet1_1", 2);
  auto layout = *ParameterLayout::Create(
      {{"classifier.1.bias", {2}}, {"features.3.squeeze.bias", {16}}});
  ParameterVector values(layout.Count());
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.5f + i;
  ASSERT_TRUE(ApplyParameters(layout, values, *network).ok());
  EXPECT_EQ(*ExtractParameters(layout, *network), values);
  EXPECT_EQ(NamedTensors(*network)["classifier.1.bias"][1].item<float>(), 1.5f);
}

TEST(ApplyParametersTest, RefusesWhatDoesNotFit) {
  auto network = Make("squeezenet1_1", 2);
  auto layout = *ParameterLayout::Create({{"classifier.1.bias", {2}}});
  EXPECT_FALSE(ApplyParameters(layout, ParameterVector(3), *network).ok());
  auto misshapen = *ParameterLayout::Create({{"classifier.1.bias", {3}}});
  EXPECT_FALSE(ApplyParameters(misshapen, ParameterVector(3), *network).ok());
  auto unknown = *ParameterLayout::Create({{"fc.bias", {2}}});
  EXPECT_FALSE(ApplyParameters(unknown, ParameterVector(2), *network).ok());
}

}  // namespace
}  // namespace fedgraft
