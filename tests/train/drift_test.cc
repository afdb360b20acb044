#include "client/train/drift.h"

#include "client/train/feature_rows.h"
#include "client/train/path_io.h"
#include "common/model/safetensors.h"
#include "common/runtime/system_clock.h"
#include "common/transfer/cka.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

using Scalars = std::map<std::string, double>;

Scalars Named(std::string_view prefix, const Scalars& all) {
  Scalars found;
  for (const auto& [name, value] : all) {
    if (name.starts_with(prefix)) found[name] = value;
  }
  return found;
}

PreprocessingSpec Sized(int size) {
  PreprocessingSpec spec;
  spec.size = size;
  return spec;
}

class DriftTest : public ::testing::Test {
 protected:
  absl::StatusOr<DriftProbe> Probe(Network& network,
                                   const FakeSource& source) const {
    return DriftProbe::Create(network, compute_, source, preprocessor_);
  }
  static void Scale(Network& network, const std::string& name, double factor) {
    torch::NoGradGuard no_grad;
    torch::Tensor value = network.named_parameters()[name];
    value.select(0, 0).mul_(factor);  // one channel: not a mere scale
  }

  Compute compute_ = *SetUpCompute({"cpu", 1, "none"});
  Preprocessor preprocessor_ = *Preprocessor::Create(Sized(32));
};

TEST_F(DriftTest, IsZeroBelowTheChangeAndPositiveFromThereOn) {
  const FakeSource source({.train = 20});
  auto network = testing::SeededNetwork("resnet18", 2);
  const auto probe = Probe(*network, source);
  ASSERT_THAT(probe, IsOk());
  const DriftProbe::View before = probe->Look();
  Scale(*network, "layer3.0.conv1.weight", 30);
  const Scalars drift = Named("drift_", Drift(before, probe->Look()));
  EXPECT_EQ(drift.size(), 9u);  // stem and eight blocks
  for (const auto& [name, value] : drift) {
    if (name >= "drift_layer3" && name < "drift_stem") {
      EXPECT_GT(value, 1e-6) << name;
      EXPECT_LE(value, 2) << name;
    } else {
      EXPECT_EQ(value, 0) << name;
    }
  }
}

TEST_F(DriftTest, DoesNotSeeAScaleOfAllChannels) {
  const FakeSource source({.train = 20});
  auto network = testing::SeededNetwork("squeezenet1_1", 2);
  const auto probe = Probe(*network, source);
  ASSERT_THAT(probe, IsOk());
  const DriftProbe::View before = probe->Look();
  {
    torch::NoGradGuard no_grad;
    for (const char* part : {"expand1x1", "expand3x3"}) {
      for (const char* kind : {".weight", ".bias"}) {
        network->named_parameters()[std::string("features.12.") + part + kind]
            .mul_(3);
      }
    }
  }
  const Scalars drift = Named("drift_", Drift(before, probe->Look()));
  EXPECT_EQ(drift.at("drift_features.11"), 0);
  EXPECT_NEAR(drift.at("drift_features.12"), 0, 1e-6);
  EXPECT_FALSE(drift.contains("drift_features.2")) << "it has no parameters";
}

TEST_F(DriftTest, ShowsAFewImagesSpreadOverTheSplit) {
  auto network = testing::SeededNetwork("squeezenet1_1", 2);
  const FakeSource large({.train = 1000}), small({.train = 5});
  const auto probe = Probe(*network, large);
  ASSERT_THAT(probe, IsOk());
  EXPECT_EQ(large.loads(), DriftProbe::kImagesMax);
  EXPECT_EQ(probe->Look().begin()->second.size(0), DriftProbe::kImagesMax);
  FakeSource broken({.train = 1000});
  broken.BreakTrainImage(125);  // 16 * 1000 / 128
  EXPECT_THAT(Probe(*network, broken),
              IsError(absl::StatusCode::kInvalidArgument, "image 0/125"));
  broken.BreakTrainImage(126);
  EXPECT_THAT(Probe(*network, broken), IsOk());
  EXPECT_EQ(Probe(*network, small)->Look().begin()->second.size(0), 5);
}

TEST_F(DriftTest, IsNotDefinedForThreeImages) {
  auto network = testing::SeededNetwork("squeezenet1_1", 2);
  const FakeSource source({.train = 3});
  const auto probe = Probe(*network, source);
  ASSERT_THAT(probe, IsOk());
  EXPECT_TRUE(Drift(probe->Look(), probe->Look()).empty());
}

// Two sites' sums give the minibatch CKA of all their batches.
TEST_F(DriftTest, SumsOfSitesGiveTheDriftOfAllBatches) {
  auto network = testing::SeededNetwork("squeezenet1_1", 2);
  MinibatchCka expected, told;
  for (int train : {70, 9}) {
    const FakeSource source({.train = train});
    const auto probe = Probe(*network, source);
    ASSERT_THAT(probe, IsOk());
    const DriftProbe::View before = probe->Look();
    Scale(*network, "features.12.squeeze.weight", 30);
    const DriftProbe::View after = probe->Look();
    Scale(*network, "features.12.squeeze.weight", 1.0 / 30);
    const torch::Tensor x = before.at("features.12"),
                        y = after.at("features.12");
    const int64_t half = train / 32 >= 2 ? 35 : train;
    for (int64_t begin = 0; begin < train; begin += half) {
      ASSERT_THAT(expected.Add(AsMatrix(x.narrow(0, begin, half)),
                               AsMatrix(y.narrow(0, begin, half))),
                  IsOk());
    }
    const Scalars drift = Drift(before, after);
    told.Merge({drift.at("hsic_xy_features.12"),
                drift.at("hsic_xx_features.12"),
                drift.at("hsic_yy_features.12")});
    // Not moved: exactly 0 in the sums as well.
    EXPECT_EQ(drift.at("hsic_xy_features.11"), drift.at("hsic_xx_features.11"));
    EXPECT_EQ(drift.at("hsic_yy_features.11"), drift.at("hsic_xx_features.11"));
  }
  EXPECT_EQ(*told.Cka(), *expected.Cka());
  EXPECT_LT(*told.Cka(), 1 - 1e-6);
}

// A chain of many stages; every second has no parameters.
class DeepNetwork : public Network {
 public:
  explicit DeepNetwork(int stages) {
    for (int i = 0; i < stages; ++i) {
      torch::nn::Conv2d conv(torch::nn::Conv2dOptions(3, 3, 1));
      const std::string name = "s" + std::to_string(i);
      register_module(name, conv);
      AddStage({name, {name + "."}, [conv](torch::Tensor x) mutable {
                  return x + conv(x);
                }});
      AddStage({name + "r", {}, [](torch::Tensor x) { return x; }});
    }
    SetHeadPrefix("s" + std::to_string(stages - 1));
  }
};

TEST_F(DriftTest, TellsOfAtMost20StagesTheLastAmongThem) {
  const FakeSource source({.train = 8});
  DeepNetwork network(100);
  const auto probe = Probe(network, source);
  ASSERT_THAT(probe, IsOk());
  const Scalars drift = Named("drift_", Drift(probe->Look(), probe->Look()));
  EXPECT_EQ(drift.size(), 20u);
  EXPECT_TRUE(drift.contains("drift_s99"));
}

// Through the trainer's session, as a run's last evaluation asks for it.
class SessionDriftTest : public DriftTest {
 protected:
  // Trains two rounds of `plan` and returns the last evaluation.
  TrainerSession::Evaluated Run(const Plan& plan, bool compare_local = true) {
    testing::WriteBackbone(backbone_, "resnet18");
    SessionConfig config;
    config.plan = plan;
    config.data = std::make_unique<FakeSource>(FakeSource::Options{});
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone_;
    config.state_dir = folder_.File("state");
    auto session = TrainerSession::Create(std::move(config), clock_);
    EXPECT_THAT(session, IsOk());
    ParameterVector values =
        testing::WriteInitialModel(plan, backbone_, initial_);
    testing::WriteInitialModel(plan, backbone_, model_);
    for (int round = 1; round <= 2; ++round) {
      const std::string path = folder_.File("delta");
      EXPECT_THAT((*session)->RunTrain({round, model_, path}, Silent), IsOk());
      const ParameterVector delta = testing::ReadDelta(path);
      for (size_t i = 0; i < values.size(); ++i) values[i] += delta[i];
      EXPECT_THAT(
          WriteFile(model_, EncodeTrainableSet(
                                testing::LayoutOf(plan, backbone_), values)),
          IsOk());
    }
    auto evaluated = (*session)->RunEvaluate(
        {2, model_, Split::kTest, compare_local, initial_}, Silent);
    EXPECT_THAT(evaluated, IsOk());
    return *std::move(evaluated);
  }
  static Scalars DriftOf(const TrainerSession::Evaluated& evaluated) {
    return Named("drift_", evaluated.scalars);
  }

  testing::TempFolder folder_;
  std::string backbone_ = folder_.File("backbone.safetensors");
  std::string initial_ = folder_.File("initial"),
              model_ = folder_.File("model");
  SystemClock clock_;
};

TEST_F(SessionDriftTest, IsExactlyZeroWhereNothingIsUnfrozen) {
  Plan plan = testing::SmallPlan();
  const Scalars probe = DriftOf(Run(plan));
  EXPECT_EQ(probe.size(), 9u);
  for (const auto& [name, value] : probe) EXPECT_EQ(value, 0) << name;
  plan.strategy = StrategyKind::kPartial;
  plan.unfreeze = {"layer4.*"};
  const Scalars partial = DriftOf(Run(plan));
  EXPECT_EQ(partial.size(), 9u);
  for (const auto& [name, value] : partial) {
    if (name.starts_with("drift_layer4")) {
      EXPECT_GT(value, 0) << name;
    } else {
      EXPECT_EQ(value, 0) << name;
    }
  }
}

TEST_F(SessionDriftTest, SeesTheSitesOwnBatchNormMove) {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kFull;
  plan.batch_norm = BatchNormPolicy::kLocal;
  plan.optimizer.learning_rate = 1e-15;  // weights keep their bits
  const Scalars drift = DriftOf(Run(plan));
  EXPECT_EQ(drift.size(), 9u);
  for (const auto& [name, value] : drift) EXPECT_GT(value, 0) << name;
}

TEST_F(SessionDriftTest, IsToldOnlyWithTheComparisonAndChangesNothingElse) {
  const Plan plan = testing::SmallPlan();
  const TrainerSession::Evaluated with = Run(plan), without = Run(plan, false);
  EXPECT_TRUE(DriftOf(without).empty());
  EXPECT_EQ(with.sums, without.sums);
  EXPECT_EQ(with.scalars.at("loss"), without.scalars.at("loss"));
}

}  // namespace
}  // namespace fedgraft
