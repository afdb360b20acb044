#include "common/model/trainable_set.h"

#include <cmath>
#include <string>

#include "absl/strings/match.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/test_files.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// A backbone file of this architecture whose every float is `fill`.
SafetensorsFile Backbone(const std::string& architecture, float fill,
                         const std::string& drop = "",
                         const std::string& extra = "") {
  std::map<std::string, std::vector<int64_t>> shapes =
      BackboneTensors(*FindArchitecture(architecture));
  shapes.erase(drop);
  if (!extra.empty()) shapes[extra] = {3};
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, TensorToWrite> tensors;
  static const int64_t kBatches = 1;
  for (const auto& [name, shape] : shapes) {
    const TensorSpec spec{name, shape};
    values[name].assign(static_cast<size_t>(spec.Count()), fill);
    tensors[name] = {
        DType::kF32, shape,
        ByteSpan(reinterpret_cast<const uint8_t*>(values[name].data()),
                 values[name].size() * sizeof(float))};
    if (absl::EndsWith(name, "running_mean")) {
      tensors[name.substr(0, name.size() - 12) + "num_batches_tracked"] = {
          DType::kI64,
          {},
          ByteSpan(reinterpret_cast<const uint8_t*>(&kBatches), 8)};
    }
  }
  return *SafetensorsFile::Parse(*EncodeSafetensors(tensors, {}), "backbone");
}

const SafetensorsFile& MobileNet() {
  static const auto* file = new SafetensorsFile(Backbone("mobilenet_v2", 0.5f));
  return *file;
}

Plan MobileNetPlan(StrategyKind strategy,
                   std::vector<std::string> unfreeze = {},
                   BatchNormPolicy policy = BatchNormPolicy::kFrozen) {
  Plan plan;
  plan.architecture = "mobilenet_v2";
  plan.classes = {"no", "yes", "maybe"};
  plan.strategy = strategy;
  plan.unfreeze = std::move(unfreeze);
  plan.batch_norm = policy;
  plan.seed = 17;
  return plan;
}

std::vector<std::string> Names(const ParameterLayout& layout) {
  std::vector<std::string> names;
  for (const TensorSpec& tensor : layout.tensors()) {
    names.push_back(tensor.name);
  }
  return names;
}

// Numbers published with torchvision's models: parameters (with the head of
// 1000 classes) and entries of the state_dict.
TEST(ArchitectureTest, TensorsAgreeWithTorchvisionsCounts) {
  struct Case {
    std::string name;
    int64_t parameters;
    size_t entries;
  };
  for (const Case& known :
       {Case{"resnet18", 11'689'512, 122}, Case{"resnet34", 21'797'672, 218},
        Case{"resnet50", 25'557'032, 320}, Case{"mobilenet_v2", 3'504'872, 314},
        Case{"densenet121", 7'978'856, 727},
        Case{"squeezenet1_1", 1'235'496, 52}}) {
    const auto architecture = FindArchitecture(known.name);
    ASSERT_TRUE(architecture.ok());
    int64_t parameters = 1000 * (architecture->feature_dim + 1);
    size_t entries = 2;
    for (const auto& [name, shape] : BackboneTensors(*architecture)) {
      ++entries;
      if (absl::EndsWith(name, "running_var")) ++entries;  // and its counter
      if (!absl::StrContains(name, "running_")) {
        parameters += TensorSpec{name, shape}.Count();
      }
    }
    EXPECT_EQ(parameters, known.parameters) << known.name;
    EXPECT_EQ(entries, known.entries) << known.name;
  }
}

TEST(ArchitectureTest, RealFilesFit) {
  const std::string folder = TestData("backbones");
  if (folder.empty()) GTEST_SKIP() << "no data folder";
  for (const char* name : {"mobilenet_v2", "squeezenet1_1"}) {
    const auto file =
        SafetensorsFile::Open(folder + "/" + name + ".safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(CheckBackbone(*FindArchitecture(name), *file), absl::OkStatus());
  }
}

TEST(ArchitectureTest, UnknownNameListsTheKnownOnes) {
  const absl::Status status = FindArchitecture("resnet19").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("mobilenet_v2, resnet18, resnet34, resnet50, "
                        "squeezenet1_1"));
}

TEST(ArchitectureTest, ForeignFileIsRefusedWithEveryDifference) {
  const SafetensorsFile file = Backbone(
      "squeezenet1_1", 0, "features.3.squeeze.bias", "features.99.weight");
  const absl::Status status =
      CheckBackbone(*FindArchitecture("squeezenet1_1"), file);
  EXPECT_EQ(status.message(),
            "the backbone file is not a squeezenet1_1: missing "
            "features.3.squeeze.bias; unexpected features.99.weight");
  EXPECT_THAT(
      std::string(CheckBackbone(*FindArchitecture("resnet18"), file).message()),
      HasSubstr("more; unexpected"));
}

TEST(TrainableLayoutTest, LinearProbeIsTheHead) {
  const auto layout =
      TrainableLayout(MobileNetPlan(StrategyKind::kLinearProbe), MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(Names(*layout), (std::vector<std::string>{"classifier.1.bias",
                                                      "classifier.1.weight"}));
  EXPECT_EQ(layout->tensors()[1].shape, (std::vector<int64_t>{3, 1280}));
}

TEST(TrainableLayoutTest, SqueezeNetHeadIsAConvolution) {
  Plan plan = MobileNetPlan(StrategyKind::kLinearProbe);
  plan.architecture = "squeezenet1_1";
  const auto layout = TrainableLayout(plan, Backbone("squeezenet1_1", 0));
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->tensors()[1].shape, (std::vector<int64_t>{3, 512, 1, 1}));
}

TEST(TrainableLayoutTest, BatchNormPolicyDecidesWhatOfALayerTravels) {
  const std::vector<std::string> head = {"classifier.1.bias",
                                         "classifier.1.weight"};
  struct Case {
    BatchNormPolicy policy;
    std::vector<std::string> backbone;
  };
  for (const Case& known :
       {Case{BatchNormPolicy::kFrozen,
             {"features.18.0.weight", "features.18.1.bias",
              "features.18.1.weight"}},
        Case{BatchNormPolicy::kLocal, {"features.18.0.weight"}},
        Case{BatchNormPolicy::kPooled,
             {"features.18.0.weight", "features.18.1.bias",
              "features.18.1.running_mean", "features.18.1.running_var",
              "features.18.1.weight"}}}) {
    const auto layout = TrainableLayout(
        MobileNetPlan(StrategyKind::kPartial, {"features.18.*"}, known.policy),
        MobileNet());
    ASSERT_TRUE(layout.ok()) << layout.status();
    std::vector<std::string> expected = head;
    expected.insert(expected.end(), known.backbone.begin(),
                    known.backbone.end());
    EXPECT_EQ(Names(*layout), expected);
  }
}

TEST(TrainableLayoutTest, PooledStatisticsHaveTheirKinds) {
  const auto layout = TrainableLayout(
      MobileNetPlan(StrategyKind::kPartial, {"features.18.1.weight"},
                    BatchNormPolicy::kPooled),
      MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->tensors()[*layout->Find("features.18.1.running_mean")].kind,
            TensorKind::kBatchNormMean);
  EXPECT_EQ(layout->tensors()[*layout->Find("features.18.1.running_var")].kind,
            TensorKind::kBatchNormVar);
  EXPECT_FALSE(layout->Find("features.18.0.weight").ok());
}

TEST(TrainableLayoutTest, FullHoldsEveryParameterOnce) {
  const auto layout =
      TrainableLayout(MobileNetPlan(StrategyKind::kFull), MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  // Published count, with 3 instead of 1000 classes.
  EXPECT_EQ(layout->Count(), 3'504'872 - 997 * 1281);
}

TEST(TrainableLayoutTest, ALocalHeadDoesNotTravel) {
  Plan plan = MobileNetPlan(StrategyKind::kPartial, {"features.18.0.*"});
  plan.personal.kind = PersonalKind::kLocalHead;
  const auto layout = TrainableLayout(plan, MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(Names(*layout), std::vector<std::string>{"features.18.0.weight"});
  plan.unfreeze = {"classifier.*"};
  EXPECT_THAT(TrainableLayout(plan, MobileNet()).status().ToString(),
              HasSubstr("nothing travels"));
}

TEST(TrainableLayoutTest, RateGroupsMatchSomethingThatIsTrained) {
  Plan plan = MobileNetPlan(StrategyKind::kPartial, {"features.18.*"},
                            BatchNormPolicy::kLocal);
  plan.layer_rates.kind = LayerRateKind::kGroups;
  // The second is of layers that stay at the site, but are trained.
  plan.layer_rates.groups = {{"features.18.0.*", 0.5}, {"*.18.1.bias", 0.1}};
  EXPECT_TRUE(TrainableLayout(plan, MobileNet()).ok());
  plan.layer_rates.groups.push_back({"features.17.*", 0.1});
  const absl::Status status = TrainableLayout(plan, MobileNet()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(status.ToString(), HasSubstr("\"features.17.*\" matches none"));
  EXPECT_THAT(status.ToString(), HasSubstr("strategy unfreeze"));
}

TEST(TrainableLayoutTest, BadGlobsAreNamed) {
  const absl::Status nothing =
      TrainableLayout(
          MobileNetPlan(StrategyKind::kPartial, {"features.18.*", "layer4.*"}),
          MobileNet())
          .status();
  EXPECT_TRUE(absl::IsInvalidArgument(nothing));
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("\"layer4.*\""));
  EXPECT_TRUE(absl::IsInvalidArgument(
      TrainableLayout(MobileNetPlan(StrategyKind::kPartial), MobileNet())
          .status()));
  EXPECT_TRUE(
      TrainableLayout(MobileNetPlan(StrategyKind::kPartial, {"classifier.*"}),
                      MobileNet())
          .ok());
}

TEST(TrainableLayoutTest, BlocksFromTheTopAndGlobsUnite) {
  Plan plan = MobileNetPlan(StrategyKind::kPartial, {"features.0.0.weight"});
  plan.unfreeze_blocks = 1;
  const auto layout = TrainableLayout(plan, MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(Names(*layout), (std::vector<std::string>{
                                "classifier.1.bias", "classifier.1.weight",
                                "features.0.0.weight", "features.18.0.weight",
                                "features.18.1.bias", "features.18.1.weight"}));
  // All blocks are the whole backbone.
  plan.unfreeze.clear();
  plan.unfreeze_blocks = 19;
  EXPECT_EQ(TrainableLayout(plan, MobileNet())->digest(),
            TrainableLayout(MobileNetPlan(StrategyKind::kFull), MobileNet())
                ->digest());
  plan.unfreeze_blocks = 20;
  EXPECT_THAT(
      std::string(TrainableLayout(plan, MobileNet()).status().message()),
      HasSubstr("found 20; mobilenet_v2 has 19 blocks; expected at most 19"));
}

TEST(TrainableLayoutTest, BatchNormTuningTakesItsLayersOnly) {
  Plan plan = MobileNetPlan(StrategyKind::kAdapter);
  plan.adapter.kind = AdapterKind::kBatchNormTune;
  plan.adapter.targets = {"features.18.*"};
  const auto layout = TrainableLayout(plan, MobileNet());
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(Names(*layout), (std::vector<std::string>{
                                "classifier.1.bias", "classifier.1.weight",
                                "features.18.1.bias", "features.18.1.weight"}));
  EXPECT_TRUE(UnfreezesBatchNorm(plan, "features.18.1"));
  EXPECT_FALSE(UnfreezesBatchNorm(plan, "features.17.conv.3"));
  plan.adapter.targets.clear();
  // 52 layers of two tensors, and the head.
  EXPECT_EQ(TrainableLayout(plan, MobileNet())->tensors().size(), 106u);
}

// LP within FE within PFT within FFT, for every backbone and number of blocks.
TEST(TrainableLayoutTest, StrategiesNest) {
  for (const char* architecture : {"resnet18", "resnet50", "mobilenet_v2",
                                   "squeezenet1_1", "densenet121"}) {
    SCOPED_TRACE(architecture);
    const SafetensorsFile backbone = Backbone(architecture, 0);
    const auto layout = [&](StrategyKind strategy, int blocks) {
      Plan plan = MobileNetPlan(strategy);
      plan.architecture = architecture;
      plan.unfreeze_blocks = blocks;
      plan.hidden_dim = strategy == StrategyKind::kLinearProbe ? 0 : 32;
      return *TrainableLayout(plan, backbone);
    };
    std::vector<ParameterLayout> chain = {
        layout(StrategyKind::kLinearProbe, 0),
        layout(StrategyKind::kFeatureExtraction, 0)};
    for (int blocks : {1, 2, 5}) {
      chain.push_back(layout(StrategyKind::kPartial, blocks));
    }
    chain.push_back(layout(StrategyKind::kFull, 0));
    for (size_t i = 1; i < chain.size(); ++i) {
      EXPECT_LT(chain[i - 1].Count(), chain[i].Count()) << i;
      for (const TensorSpec& tensor : chain[i - 1].tensors()) {
        const auto index = chain[i].Find(tensor.name);
        ASSERT_TRUE(index.ok()) << tensor.name;
        EXPECT_EQ(chain[i].tensors()[*index], tensor);
      }
    }
  }
}

TEST(UnfreezesTest, CoversLocalBatchNormAndNeverTheHead) {
  const Plan plan = MobileNetPlan(StrategyKind::kPartial,
                                  {"features.18.1.weight", "classifier.*"},
                                  BatchNormPolicy::kLocal);
  EXPECT_TRUE(Unfreezes(plan, MobileNet(), "features.18.1.running_mean"));
  EXPECT_TRUE(Unfreezes(plan, MobileNet(), "features.18.1.weight"));
  EXPECT_FALSE(Unfreezes(plan, MobileNet(), "features.18.0.weight"));
  EXPECT_FALSE(Unfreezes(plan, MobileNet(), "classifier.1.weight"));
  EXPECT_FALSE(Unfreezes(plan, MobileNet(), "features.18.1.no_such"));
}

TEST(InitialTrainableSetTest, TakesPretrainedValuesAndDrawsTheHead) {
  const Plan plan = MobileNetPlan(StrategyKind::kPartial, {"features.18.*"});
  const auto layout = TrainableLayout(plan, MobileNet());
  ASSERT_TRUE(layout.ok());
  const auto values = InitialTrainableSet(plan, *layout, MobileNet());
  ASSERT_TRUE(values.ok()) << values.status();
  ASSERT_EQ(static_cast<int64_t>(values->size()), layout->Count());
  double sum = 0, squares = 0;
  for (int i = 0; i < 3; ++i) EXPECT_EQ((*values)[i], 0.0f);  // bias
  for (int i = 3; i < 3 + 3840; ++i) {
    sum += (*values)[i];
    squares += (*values)[i] * (*values)[i];
    EXPECT_LE(std::abs((*values)[i]), 0.06f);
  }
  // Five standard errors each: a false alarm in a million seeds.
  EXPECT_NEAR(sum / 3840, 0, 5 * 0.01 / std::sqrt(3840));
  EXPECT_NEAR(std::sqrt(squares / 3840), 0.01, 5 * 0.01 / std::sqrt(7680));
  for (size_t i = 3 + 3840; i < values->size(); ++i) {
    ASSERT_EQ((*values)[i], 0.5f);
  }
}

// The first three draws for seed 17, from an independent implementation of
// the Mersenne twister in Python.
TEST(InitialTrainableSetTest, IsTheSameOnEveryMachine) {
  const Plan plan = MobileNetPlan(StrategyKind::kLinearProbe);
  const auto layout = TrainableLayout(plan, MobileNet());
  const auto values = InitialTrainableSet(plan, *layout, MobileNet());
  ASSERT_TRUE(values.ok());
  EXPECT_EQ((*values)[3], -0.00491150562f);
  EXPECT_EQ((*values)[4], 0.00325429649f);
  EXPECT_EQ((*values)[5], -0.000450875348f);
  Plan other = plan;
  other.seed = 18;
  EXPECT_NE(*values, *InitialTrainableSet(other, *layout, MobileNet()));
}

TEST(InitialTrainableSetTest, GraftsLeaveTheLinearHeadsDrawsAlone) {
  const Plan probe = MobileNetPlan(StrategyKind::kLinearProbe);
  Plan plan = MobileNetPlan(StrategyKind::kAdapter);
  plan.hidden_dim = 4;
  const ParameterLayout layout = *TrainableLayout(plan, MobileNet());
  const ParameterVector values =
      *InitialTrainableSet(plan, layout, MobileNet());
  const ParameterLayout linear = *TrainableLayout(probe, MobileNet());
  const ParameterVector head = *InitialTrainableSet(probe, linear, MobileNet());
  const auto value = [&](const char* name, int64_t at) {
    return values[layout.Offset(*layout.Find(name)) + at];
  };
  for (int64_t i = 0; i < 3 * 1280; ++i) {
    ASSERT_EQ(value("classifier.1.weight", i), head[3 + i]);
  }
  EXPECT_EQ(value("classifier.1.out.weight", 11), 0);
  EXPECT_NE(value("classifier.1.hidden.weight", 0), 0);
  EXPECT_EQ(value("features.18.0.lora_b", 0), 0);
}

TEST(InitialTrainableSetTest, RefusesNonFiniteBackbones) {
  const Plan plan = MobileNetPlan(StrategyKind::kPartial, {"features.18.*"});
  const auto layout = TrainableLayout(plan, MobileNet());
  const auto values =
      InitialTrainableSet(plan, *layout, Backbone("mobilenet_v2", NAN));
  ASSERT_TRUE(absl::IsInvalidArgument(values.status()));
  EXPECT_THAT(std::string(values.status().message()),
              HasSubstr("features.18.0.weight"));
}

TEST(GlobMatchTest, MatchesAsDocumented) {
  struct Case {
    const char* glob;
    const char* name;
    bool matches;
  };
  for (const Case& known :
       {Case{"layer4.*", "layer4.0.conv1.weight", true},
        Case{"layer4.*", "layer4", false},
        Case{"layer4.*", "layer41.0.weight", false}, Case{"*", "", true},
        Case{"", "", true}, Case{"", "a", false},
        Case{"*.weight", "a.b.weight", true},
        Case{"*.weight", "a.b.weights", false},
        Case{"layer?.0.*", "layer3.0.bn", true},
        Case{"layer?.0.*", "layer.0.bn", false},
        Case{"*a*b*", "xxaxxbxx", true}, Case{"*a*b*", "xxbxxaxx", false},
        Case{"a**", "a", true}, Case{"[a]", "a", false}}) {
    EXPECT_EQ(GlobMatch(known.glob, known.name), known.matches)
        << known.glob << " on " << known.name;
  }
}

TEST(GlobMatchTest, StaysFastOnPatternsThatBacktrack) {
  std::string glob, name(20'000, 'a');
  for (int i = 0; i < 200; ++i) glob += "*a";
  EXPECT_FALSE(GlobMatch(glob + "b", name));
  EXPECT_TRUE(GlobMatch(glob, name));
}

TEST(TrainableSetTest, FeatureVectorsTrainAHeadAloneFromASeed) {
  Plan plan;
  plan.architecture = kIdentity;
  plan.feature_dim = 6;
  plan.classes = {"a", "b", "c"};
  plan.seed = 5;
  const auto none = OpenBackbone(plan, "/nowhere");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_TRUE(none->tensors().empty());
  const auto layout = TrainableLayout(plan, *none);
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->tensors().size(), 2u);
  EXPECT_EQ(layout->tensors()[0].name, "head.bias");
  EXPECT_EQ(layout->tensors()[1].name, "head.weight");
  EXPECT_EQ(layout->tensors()[1].shape, (std::vector<int64_t>{3, 6}));
  const auto initial = InitialTrainableSet(plan, *layout, *none);
  ASSERT_TRUE(initial.ok()) << initial.status();
  EXPECT_EQ((*initial)[0], 0);
  EXPECT_NE((*initial)[3], 0);
  EXPECT_EQ(*initial, *InitialTrainableSet(plan, *layout, *none));
}

TEST(TrainableSetTest, ABackboneFileIsGivenExactlyWhereThePlanHasOne) {
  Plan plan;
  plan.architecture = "resnet18";
  EXPECT_TRUE(CheckBackbonePath(plan, "/b").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckBackbonePath(plan, "")));
  EXPECT_TRUE(absl::IsNotFound(OpenBackbone(plan, "/nowhere").status()));
  plan.architecture = kIdentity;
  EXPECT_TRUE(CheckBackbonePath(plan, "").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(CheckBackbonePath(plan, "/b")));
}

}  // namespace
}  // namespace fedgraft
