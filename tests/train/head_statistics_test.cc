#include "client/train/head_statistics.h"

#include <random>

#include "common/solve/head_solver.h"
#include "common/solve/solve_statistics.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/plain_statistics.h"

namespace fedgraft {
namespace {

using testing::PlainRecords;
using testing::PlainStatistics;

PlainRecords Records(int count, int classes, int dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  PlainRecords records;
  for (int i = 0; i < count; ++i) {
    std::vector<double> row(dim);
    for (double& v : row) v = normal(random);
    row[0] += 2 * (i % classes);
    records.features.push_back(row);
    records.labels.push_back(i % classes);
  }
  return records;
}

LabelledFeatures ToTensors(const PlainRecords& records) {
  LabelledFeatures features;
  std::vector<torch::Tensor> rows;
  for (const auto& row : records.features) {
    rows.push_back(torch::tensor(row, torch::kFloat64));
  }
  if (!rows.empty()) features.values = torch::stack(rows);
  features.labels.assign(records.labels.begin(), records.labels.end());
  return features;
}

TEST(HeadStatisticsTest, EqualTheDefinitionsAtEveryStage) {
  const PlainRecords train = Records(40, 3, 5, 1);
  const PlainRecords validation = Records(12, 3, 5, 2);
  for (SolveStage stage :
       {SolveStage::kMoments, SolveStage::kGram, SolveStage::kCross,
        SolveStage::kGradient, SolveStage::kHessian, SolveStage::kValidate}) {
    SolvePoint point;
    point.stage = stage;
    point.classes = 3;
    point.feature_dim = 5;
    if (stage != SolveStage::kMoments) {
      point.mean = {0.1, 0.2, -0.3, 0, 1};
      point.scale = {1, 2, 0.5, 0, 1.5};
    }
    std::mt19937 random(3);
    std::normal_distribution<double> normal(0, 0.5);
    size_t weights = static_cast<size_t>(point.variables());
    if (stage == SolveStage::kValidate) {
      point.candidates = 2;
      weights = 2 * 3 * 6;
    }
    if (stage != SolveStage::kMoments && stage != SolveStage::kCross) {
      for (size_t i = 0; i < weights; ++i) {
        point.weights.push_back(normal(random));
      }
    }
    const auto sums =
        SolveStatistics(point, ToTensors(train), ToTensors(validation));
    ASSERT_TRUE(sums.ok()) << sums.status();
    EXPECT_THAT(*sums,
                ::testing::Pointwise(::testing::DoubleNear(1e-10),
                                     PlainStatistics(point, train, validation)))
        << static_cast<int>(stage);
  }
}

TEST(HeadStatisticsTest, PerSiteNormalisationIsTheSitesOwn) {
  const PlainRecords train = Records(30, 2, 4, 4);
  SolvePoint own;
  own.stage = SolveStage::kCross;
  own.feature_dim = 4;
  own.per_site = true;
  const FeatureScaling scaling = OwnScaling(ToTensors(train));
  SolvePoint given = own;
  given.per_site = false;
  for (int j = 0; j < 4; ++j) {
    given.mean.push_back(scaling.mean[j].item<double>());
    given.scale.push_back(scaling.scale[j].item<double>());
  }
  EXPECT_EQ(*SolveStatistics(own, ToTensors(train), {}),
            *SolveStatistics(given, ToTensors(train), {}));
  const SolveLayout layout(own);
  const auto sums = *SolveStatistics(own, ToTensors(train), {});
  EXPECT_NEAR(sums[layout.gram.begin], 30, 1e-9);  // variance 1, 30 records
  EXPECT_NEAR(sums[layout.feature_sums.begin], 0, 1e-9);
}

TEST(HeadStatisticsTest, WrongFeaturesAreRefused) {
  SolvePoint point;
  point.feature_dim = 4;
  const LabelledFeatures five = ToTensors(Records(10, 2, 5, 5));
  EXPECT_TRUE(
      absl::IsInvalidArgument(SolveStatistics(point, five, {}).status()));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(SolveStatistics(point, {}, five).status()));
  LabelledFeatures nan = ToTensors(Records(10, 2, 4, 6));
  nan.values[3][1] = std::nan("");
  EXPECT_TRUE(
      absl::IsInvalidArgument(SolveStatistics(point, nan, {}).status()));
}

// With slopes fixed, the fitted intercepts make the mean predicted
// probabilities equal the class frequencies (the score equations), and nothing
// else of the head moves.
TEST(HeadStatisticsTest, RefittedInterceptsMatchTheSitesPrevalence) {
  for (int classes : {2, 4}) {
    PlainRecords train = Records(90, classes, 3, 7);
    for (size_t i = 0; i < train.labels.size(); ++i) {
      if (i % 5 != 0) train.labels[i] = 0;  // label shift
    }
    const LabelledFeatures features = ToTensors(train);
    torch::manual_seed(8);
    torch::Tensor head = torch::randn({classes, 4}, torch::kFloat64) * 3;
    const torch::Tensor fitted = RefitIntercepts(head, features);
    EXPECT_TRUE(torch::equal(fitted.narrow(1, 0, 3), head.narrow(1, 0, 3)));
    const torch::Tensor scores =
        features.values.mm(fitted.narrow(1, 0, 3).t()) + fitted.select(1, 3);
    const torch::Tensor predicted = torch::softmax(scores, 1).mean(0);
    for (int c = 0; c < classes; ++c) {
      const double share =
          std::count(train.labels.begin(), train.labels.end(), c) /
          static_cast<double>(train.labels.size());
      EXPECT_NEAR(predicted[c].item<double>(), share, 1e-9) << classes;
    }
  }
}

TEST(HeadStatisticsTest, OneClassSiteKeepsTheSharedIntercepts) {
  PlainRecords train = Records(20, 2, 3, 9);
  std::fill(train.labels.begin(), train.labels.end(), 1);
  const torch::Tensor head = torch::randn({2, 4}, torch::kFloat64);
  EXPECT_TRUE(torch::equal(RefitIntercepts(head, ToTensors(train)), head));
}

}  // namespace
}  // namespace fedgraft
