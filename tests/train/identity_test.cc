#include "common/config/identity.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "client/data/feature_source.h"
#include "client/data/seeded_random.h"
#include "client/train/path_io.h"
#include "client/train/predict.h"
#include "client/train/session.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/evaluation_layout.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/system_clock.h"
#include "common/solve/head_values.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// Sites that have feature vectors instead of images.

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;
using testing::Silent;

constexpr int kDim = 5;
const std::vector<std::string> kClasses = {"a", "b", "c"};

Plan IdentityPlan() {
  Plan plan = testing::SmallPlan();
  plan.classes = kClasses;
  plan.architecture = kIdentity;
  plan.feature_dim = kDim;
  plan.local_epochs = 1;
  plan.batch_size = 1000;
  plan.optimizer.learning_rate = 0.5;
  plan.optimizer.momentum = 0;
  return plan;
}

// Three clouds: feature k of a vector of class k is 3 larger. Site `seed` has
// vectors of its own.
FeatureSet Clouds(uint64_t seed, DataUse use = DataUse::kTrain) {
  FeatureSet set;
  set.dim = kDim;
  SeededRandom random({seed});
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    if (use == DataUse::kPredict && split != Split::kTest) continue;
    for (int i = 0; i < 60; ++i) {
      const int label = i % 3;
      set.samples[split].push_back(
          {label, "", std::to_string(static_cast<int>(split) * 100 + i)});
      for (int k = 0; k < kDim; ++k) {
        set.Values(split).push_back(static_cast<float>(
            4 * random.Uniform() - 2 + (k == label ? 3 : 0)));
      }
    }
  }
  return set;
}

std::unique_ptr<DataSource> SourceOf(FeatureSet set,
                                     DataUse use = DataUse::kTrain) {
  return *MakeFeatureSource(std::move(set), "clouds", {kClasses, use});
}

class IdentityTest : public ::testing::Test {
 protected:
  IdentityTest() { Start(IdentityPlan()); }

  void Start(const Plan& plan) {
    backbone_ = *OpenBackbone(plan, "");
    layout_ = *TrainableLayout(plan, *backbone_);
    values_ = *InitialTrainableSet(plan, layout_, *backbone_);
    WriteModel();
  }
  void WriteModel() {
    ASSERT_THAT(WriteFile(model_, EncodeTrainableSet(layout_, values_)),
                IsOk());
  }
  absl::StatusOr<std::unique_ptr<TrainerSession>> Open(
      const Plan& plan, std::unique_ptr<DataSource> data) {
    SessionConfig config;
    config.plan = plan;
    config.data = std::move(data);
    config.compute = {"cpu", 1, "none"};
    config.state_dir = folder_.File("state");
    return TrainerSession::Create(std::move(config), clock_);
  }
  ParameterVector Train(TrainerSession& session, int round) {
    const std::string delta = folder_.File("delta");
    EXPECT_THAT(session.RunTrain({round, model_, delta}, Silent), IsOk());
    return testing::ReadDelta(delta);
  }

  testing::TempFolder folder_;
  std::string model_ = folder_.File("model.safetensors");
  SystemClock clock_;
  std::optional<SafetensorsFile> backbone_;
  ParameterLayout layout_;
  ParameterVector values_;
};

TEST_F(IdentityTest, OnlyAHeadAsWideAsThePlanSaysTravels) {
  ASSERT_EQ(layout_.tensors().size(), 2u);
  EXPECT_EQ(layout_.tensors()[0].name, "head.bias");
  EXPECT_EQ(layout_.tensors()[1].name, "head.weight");
  EXPECT_EQ(layout_.tensors()[1].shape, (std::vector<int64_t>{3, kDim}));
  const auto session = Open(IdentityPlan(), SourceOf(Clouds(1)));
  ASSERT_THAT(session, IsOk());
  EXPECT_EQ((*session)->layout_digest(), layout_.digest());
  // What the solver of the exact head goes by.
  EXPECT_EQ(HeadFeatures(IdentityPlan(), layout_), kDim);
}

// One step on the whole split against the gradient of the softmax written down
// in double precision.
TEST_F(IdentityTest, AStepIsTheGradientOfTheSoftmax) {
  const FeatureSet set = Clouds(1);
  auto session = Open(IdentityPlan(), SourceOf(set));
  ASSERT_THAT(session, IsOk());
  const ParameterVector delta = Train(**session, 1);
  const std::vector<float>& x = set.values[static_cast<size_t>(Split::kTrain)];
  std::vector<double> gradient(3 + 3 * kDim, 0);  // bias, then weight
  for (int i = 0; i < 60; ++i) {
    double scores[3], total = 0;
    for (int c = 0; c < 3; ++c) {
      double logit = values_[c];
      for (int k = 0; k < kDim; ++k) {
        logit += double{values_[3 + c * kDim + k]} * x[i * kDim + k];
      }
      total += scores[c] = std::exp(logit);
    }
    for (int c = 0; c < 3; ++c) {
      const double error = scores[c] / total - (i % 3 == c ? 1 : 0);
      gradient[c] += error / 60;
      for (int k = 0; k < kDim; ++k) {
        gradient[3 + c * kDim + k] += error * x[i * kDim + k] / 60;
      }
    }
  }
  ASSERT_EQ(delta.size(), gradient.size());
  for (size_t i = 0; i < delta.size(); ++i) {
    EXPECT_NEAR(delta[i], -0.5 * gradient[i], 1e-6) << i;
  }
}

// Three hospitals, each with vectors only; rounds of averaging; an export's
// files; prediction on vectors that none of them had.
TEST_F(IdentityTest, HospitalsTrainTogetherAndTheModelPredicts) {
  Plan plan = IdentityPlan();
  plan.local_epochs = 2;
  plan.batch_size = 20;
  std::vector<std::unique_ptr<TrainerSession>> sites;
  for (uint64_t seed : {1, 2, 3}) {
    auto session = Open(plan, SourceOf(Clouds(seed)));
    ASSERT_THAT(session, IsOk());
    sites.push_back(*std::move(session));
  }
  for (int round = 1; round <= 5; ++round) {
    ParameterVector next = values_;
    for (const auto& site : sites) {
      const ParameterVector delta = Train(*site, round);
      for (size_t i = 0; i < next.size(); ++i) next[i] += delta[i] / 3;
    }
    values_ = next;
    WriteModel();
  }
  const auto evaluated =
      sites[0]->RunEvaluate({5, model_, Split::kTest, false, ""}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_GT(evaluated->scalars.at("auc"), 0.95);

  PredictOptions options;
  options.model_path = model_;
  options.card.architecture = kIdentity;
  options.card.feature_dim = kDim;
  options.card.classes = kClasses;
  options.card.sha256 = Sha256(*ReadFile(model_));
  options.out_path = folder_.File("p.csv");
  options.compute = {"cpu", 1, "none"};
  const FeatureSet unseen = Clouds(9, DataUse::kPredict);
  const auto result =
      Predict(options, *SourceOf(unseen, DataUse::kPredict), Silent);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->images, 60u);
  EXPECT_GT(result->metrics.at("auc"), 0.95);
  // The first row by hand.
  const Bytes csv = *ReadFile(options.out_path);
  const std::vector<std::string> lines =
      absl::StrSplit(std::string(AsText(csv)), '\n');
  ASSERT_EQ(lines.size(), 62u);
  const std::vector<std::string> fields = absl::StrSplit(lines[1], ',');
  const std::vector<float>& x =
      unseen.values[static_cast<size_t>(Split::kTest)];
  double scores[3], total = 0;
  for (int c = 0; c < 3; ++c) {
    double logit = values_[c];
    for (int k = 0; k < kDim; ++k) {
      logit += double{values_[3 + c * kDim + k]} * x[k];
    }
    total += scores[c] = std::exp(logit);
  }
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(std::atof(fields[3 + c].c_str()), scores[c] / total, 1e-5);
  }
}

TEST_F(IdentityTest, AHiddenHeadLearnsWhatALinearOneCannot) {
  // Exclusive or of the signs of two features, in three classes of which the
  // last is empty.
  FeatureSet set;
  set.dim = kDim;
  SeededRandom random({4});
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    for (int i = 0; i < 200; ++i) {
      std::vector<float> x(kDim);
      for (float& value : x) {
        value = static_cast<float>(2 * random.Uniform() - 1);
      }
      set.samples[split].push_back(
          {(x[0] > 0) != (x[1] > 0) ? 1 : 0, "",
           std::to_string(static_cast<int>(split) * 1000 + i)});
      set.Values(split).insert(set.Values(split).end(), x.begin(), x.end());
    }
  }
  Plan plan = IdentityPlan();
  plan.local_epochs = 60;
  plan.batch_size = 20;
  const auto accuracy = [&] {
    Start(plan);
    auto session = Open(plan, SourceOf(set));
    EXPECT_THAT(session, IsOk());
    const ParameterVector delta = Train(**session, 1);
    for (size_t i = 0; i < values_.size(); ++i) values_[i] += delta[i];
    WriteModel();
    return (*session)
        ->RunEvaluate({1, model_, Split::kTest, false, ""}, Silent)
        ->scalars.at("accuracy");
  };
  EXPECT_LT(accuracy(), 0.7);
  plan.strategy = StrategyKind::kFeatureExtraction;
  plan.hidden_dim = 32;
  EXPECT_GT(accuracy(), 0.9);
}

TEST_F(IdentityTest, RefusesDataThatAreNotWhatThePlanExpects) {
  Plan plan = IdentityPlan();
  plan.feature_dim = 768;
  EXPECT_THAT(Open(plan, SourceOf(Clouds(1))),
              IsError(absl::StatusCode::kInvalidArgument,
                      "feature vectors of length 768 (backbone.feature_dim), "
                      "the data of this site are feature vectors of length 5"));
  EXPECT_THAT(
      Open(IdentityPlan(), std::make_unique<testing::FakeSource>(
                               testing::FakeSource::Options{.classes = 3})),
      IsError(absl::StatusCode::kInvalidArgument,
              "the data of this site are images"));
  EXPECT_THAT(Open(testing::SmallPlan(), SourceOf(Clouds(1))),
              IsError(absl::StatusCode::kInvalidArgument, "label"));
  Plan images = testing::SmallPlan();
  images.classes = kClasses;
  EXPECT_THAT(
      Open(images, SourceOf(Clouds(1))),
      IsError(absl::StatusCode::kInvalidArgument, "the plan expects images"));
}

TEST_F(IdentityTest, PredictionRefusesImages) {
  PredictOptions options;
  options.card.architecture = kIdentity;
  options.card.feature_dim = kDim;
  options.card.classes = kClasses;
  options.compute = {"cpu", 1, "none"};
  EXPECT_THAT(Predict(options, testing::FakeSource({.classes = 3}), Silent),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expects feature vectors of length 5"));
}

}  // namespace
}  // namespace fedgraft
