#include "client/train/rank.h"

#include "client/train/feature_rows.h"
#include "client/train/neighbours.h"
#include "client/train/path_io.h"
#include "common/crypto/sha256.h"
#include "common/runtime/system_clock.h"
#include "common/transfer/transferability.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using ::testing::HasSubstr;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

torch::Tensor Directions(const std::vector<double>& degrees) {
  torch::Tensor rows =
      torch::empty({static_cast<int64_t>(degrees.size()), 2}, torch::kFloat64);
  for (size_t i = 0; i < degrees.size(); ++i) {
    const double radians = degrees[i] * M_PI / 180;
    const double length = 1 + static_cast<double>(i);  // does not matter
    rows[static_cast<int64_t>(i)][0] = length * std::cos(radians);
    rows[static_cast<int64_t>(i)][1] = length * std::sin(radians);
  }
  return rows;
}

TEST(NeighboursTest, ARecordDoesNotVoteForItself) {
  const auto score = LeaveOneOutNeighbours(Directions({0, 1, 2}), {0, 1, 2}, 1);
  ASSERT_THAT(score, IsOk());
  EXPECT_EQ(score->accuracy, 0);
}

// Worked out by hand.
TEST(NeighboursTest, MostVotesWinAndTheNearestBreaksTies) {
  const torch::Tensor rows = Directions({0, 1, 2.5, 4.5, 7});
  const std::vector<int64_t> labels = {0, 1, 0, 0, 1};
  const std::pair<int, double> right[] = {
      {1, 1}, {2, 1}, {3, 2}, {4, 1}, {9, 1}};
  for (auto [k, expected] : right) {
    const auto score = LeaveOneOutNeighbours(rows, labels, k);
    ASSERT_THAT(score, IsOk());
    EXPECT_DOUBLE_EQ(score->accuracy * 5, expected) << k;
  }
}

TEST(NeighboursTest, BalancedAccuracyIsTheMeanRecall) {
  // Ten records of class 0 together, two of class 1 together.
  std::vector<double> degrees;
  std::vector<int64_t> labels;
  for (int i = 0; i < 10; ++i) {
    degrees.push_back(0.1 * i);
    labels.push_back(0);
  }
  degrees.insert(degrees.end(), {90, 90.1});
  labels.insert(labels.end(), {1, 1});
  const auto few = LeaveOneOutNeighbours(Directions(degrees), labels, 1);
  ASSERT_THAT(few, IsOk());
  EXPECT_DOUBLE_EQ(few->accuracy, 1);
  // With five neighbours the two are always outvoted.
  const auto many = LeaveOneOutNeighbours(Directions(degrees), labels, 5);
  ASSERT_THAT(many, IsOk());
  EXPECT_DOUBLE_EQ(many->accuracy, 10.0 / 12);
  EXPECT_DOUBLE_EQ(many->balanced_accuracy, 0.5);
}

TEST(NeighboursTest, MoreRecordsThanABlock) {
  std::vector<double> degrees;
  std::vector<int64_t> labels;
  for (int i = 0; i < 600; ++i) {
    labels.push_back(i % 3);
    degrees.push_back(120 * (i % 3) + 0.01 * i);
  }
  const auto score = LeaveOneOutNeighbours(Directions(degrees), labels, 5);
  ASSERT_THAT(score, IsOk());
  EXPECT_DOUBLE_EQ(score->accuracy, 1);
}

TEST(NeighboursTest, OneRecordHasNone) {
  EXPECT_THAT(
      LeaveOneOutNeighbours(Directions({1}), {0}, 5),
      IsError(absl::StatusCode::kFailedPrecondition, "at least 2 records"));
}

class RankTest : public ::testing::Test {
 protected:
  RankTest() {
    testing::WriteBackbone(resnet_, "resnet18");
    testing::WriteBackbone(squeezenet_, "squeezenet1_1");
    options_.backbones = {{"resnet18", resnet_},
                          {"squeezenet1_1", squeezenet_}};
    options_.preprocessing.size = 32;
    options_.compute = {"cpu", 1, "none"};
  }
  absl::StatusOr<std::vector<BackboneScore>> Rank() {
    return RankBackbones(options_, source_, clock_, Silent);
  }
  FeatureMoments MomentsOf(const RankOptions::Backbone& backbone) {
    auto network = testing::SeededNetwork(backbone.architecture, 2);
    const Compute compute = *SetUpCompute(options_.compute);
    const Preprocessor preprocessor =
        *Preprocessor::Create(options_.preprocessing);
    ActivationStore::Options images;
    images.network = network.get();
    images.compute = &compute;
    images.source = &source_;
    images.preprocessor = &preprocessor;
    images.stage = network->head_stage();
    const auto store = *ActivationStore::Create(std::move(images), Silent);
    return *HeadMoments(*store, *network, compute, 2, Silent);
  }

  testing::TempFolder folder_;
  std::string resnet_ = folder_.File("resnet18.safetensors");
  std::string squeezenet_ = folder_.File("squeezenet.safetensors");
  FakeSource source_{{.train = 24, .contrast = 0.2}};
  RankOptions options_;
  SystemClock clock_;
};

TEST_F(RankTest, ScoresEachBackboneByItsFeaturesBestLogMeFirst) {
  const auto scores = Rank();
  ASSERT_THAT(scores.status(), IsOk());
  ASSERT_EQ(scores->size(), 2u);
  EXPECT_GE((*scores)[0].log_me, (*scores)[1].log_me);
  for (const BackboneScore& score : *scores) {
    EXPECT_EQ(score.sha256, Sha256(*ReadFile(score.backbone.path)));
    EXPECT_EQ(score.images, 24);
    EXPECT_EQ(score.feature_dim, 512);
    const FeatureMoments moments = MomentsOf(score.backbone);
    EXPECT_NEAR(score.log_me, *LogMe(moments), 1e-6);
    EXPECT_NEAR(score.h_score_shrunk, ComputeHScore(moments)->shrunk, 1e-6);
    EXPECT_GE(score.neighbour_accuracy, 0);
    EXPECT_LE(score.neighbour_accuracy, 1);
  }
}

TEST_F(RankTest, NoiseRanksBelowSignal) {
  options_.backbones.resize(1);
  const BackboneScore weak = (*Rank())[0];
  // The same images under labels that they do not tell.
  auto& samples = source_.mutable_samples(Split::kTrain);
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i].label = static_cast<int>(i / 2 % 2);
  }
  const BackboneScore noise = (*Rank())[0];
  EXPECT_GT(weak.log_me, noise.log_me);
  EXPECT_GT(weak.h_score_shrunk, noise.h_score_shrunk);
  EXPECT_GT(weak.neighbour_balanced_accuracy,
            noise.neighbour_balanced_accuracy);
}

TEST_F(RankTest, ReportsForPeopleAndPrograms) {
  const auto scores = Rank();
  ASSERT_THAT(scores.status(), IsOk());
  const std::string table = RankTable(*scores);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
  EXPECT_THAT(table, HasSubstr("squeezenet1_1"));
  const auto json = nlohmann::json::parse(RankJson(*scores));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["log_me"], (*scores)[0].log_me);
  EXPECT_EQ(json[1]["sha256"], (*scores)[1].sha256.Hex());
}

TEST_F(RankTest, RefusesWhatItCannotScore) {
  std::swap(options_.backbones[0].path, options_.backbones[1].path);
  EXPECT_THAT(Rank().status(), IsError(absl::StatusCode::kInvalidArgument,
                                       "squeezenet.safetensors as resnet18"));
  options_.backbones = {{"resnet18", folder_.File("none")}};
  EXPECT_THAT(Rank().status(), testing::HasCode(absl::StatusCode::kNotFound));
  options_.backbones = {{"vgg", resnet_}};
  EXPECT_THAT(Rank().status(), IsError(absl::StatusCode::kInvalidArgument,
                                       "unknown architecture"));
  options_.backbones.clear();
  EXPECT_THAT(Rank().status(), IsError(absl::StatusCode::kInvalidArgument,
                                       "at least 1 backbone"));
  options_.backbones = {{"resnet18", resnet_}};
  for (Sample& sample : source_.mutable_samples(Split::kTrain)) {
    sample.label = 1;
  }
  EXPECT_THAT(Rank().status(), IsError(absl::StatusCode::kFailedPrecondition,
                                       "at least 2 classes"));
}

}  // namespace
}  // namespace fedgraft
