#include "common/shift/label_shift.h"

#include <cmath>
#include <random>

#include "common/shift/calibration.h"
#include "common/shift/homogeneity.h"
#include "gtest/gtest.h"
#include "tests/shift/golden.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using namespace testing;  // golden values
using testing::IsError;

TEST(LabelShiftTest, ExpectationMaximisationReproducesTheReferenceSet) {
  const auto estimate =
      EstimatePriorEm({kGoldenPosteriors, 30, 3}, kGoldenSourcePrior);
  ASSERT_TRUE(estimate.ok()) << estimate.status();
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(estimate->prior[c], kGoldenEmPrior[c], 1e-8);
  }
  EXPECT_GE(estimate->log_likelihood_gain, 0);
  const auto corrected = CorrectPosteriors({kGoldenPosteriors, 30, 3},
                                           kGoldenSourcePrior, kGoldenEmPrior);
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR((*corrected)[c], kGoldenCorrectedRow[c], 1e-12);
  }
}

TEST(LabelShiftTest, BlackBoxEstimateReproducesTheReferenceSet) {
  const auto estimate =
      EstimatePriorBlackBox({kGoldenConfusion, 3, 3}, kGoldenPredicted);
  ASSERT_TRUE(estimate.ok()) << estimate.status();
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(estimate->weights[c], kGoldenBbseWeights[c], 1e-12);
    EXPECT_NEAR(estimate->prior[c], kGoldenBbsePrior[c], 1e-12);
  }
}

TEST(LabelShiftTest, RefusesAConfusionThatTellsNothing) {
  const std::vector<double> useless = {0.25, 0.25, 0.25, 0.25};
  EXPECT_THAT(EstimatePriorBlackBox({useless, 2, 2}, {0.5, 0.5}).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "singular"));
}

// Three Gaussians in the plane, source prior .6/.3/.1, target .2/.3/.5, oracle
// posteriors. Published root mean square error of the prior at n = 500: .037.
struct Draw {
  std::vector<double> posteriors;
  double squared_error = 0;
  int covered = 0;
};
Draw DrawTarget(int n, uint64_t seed) {
  const double source[] = {0.6, 0.3, 0.1}, target[] = {0.2, 0.3, 0.5};
  const double centers[3][2] = {{0, 0}, {1.5, 0}, {0, 1.5}};
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::discrete_distribution<int> label(target, target + 3);
  Draw draw;
  for (int i = 0; i < n; ++i) {
    const int y = label(random);
    const double x[] = {centers[y][0] + normal(random),
                        centers[y][1] + normal(random)};
    double p[3], sum = 0;
    for (int c = 0; c < 3; ++c) {
      p[c] = source[c] * std::exp(-(std::pow(x[0] - centers[c][0], 2) +
                                    std::pow(x[1] - centers[c][1], 2)) /
                                  2);
      sum += p[c];
    }
    for (double q : p) draw.posteriors.push_back(q / sum);
  }
  const auto estimate =
      EstimatePriorEm({draw.posteriors, n, 3}, {0.6, 0.3, 0.1});
  for (int c = 0; c < 3; ++c) {
    const double error = estimate->prior[c] - target[c];
    draw.squared_error += error * error / 3;
    draw.covered += std::abs(error) < 1.96 * estimate->deviation[c];
  }
  return draw;
}

TEST(LabelShiftTest, FindsAMovedPriorWithinItsInterval) {
  double squares = 0;
  int covered = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Draw draw = DrawTarget(500, seed);
    squares += draw.squared_error / 100;
    covered += draw.covered;
  }
  EXPECT_LE(std::sqrt(squares), 0.04);
  // 95 % of 300 intervals, of three classes that are not independent.
  EXPECT_GE(covered, 270);
  EXPECT_LE(covered, 297);
}

// Of `classes`, hardly told apart: EM alone needs thousands of steps.
std::vector<double> WeakPosteriors(int n, int classes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> posteriors;
  for (int i = 0; i < n; ++i) {
    std::vector<double> p(classes);
    double sum = 0;
    for (double& value : p) sum += value = std::exp(0.1 * normal(random));
    for (double value : p) posteriors.push_back(value / sum);
  }
  return posteriors;
}

// The derivative of a concave likelihood, bisected.
TEST(LabelShiftTest, AFlatLikelihoodIsMaximizedInFewSteps) {
  int inside = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<double> p = WeakPosteriors(2000, 2, seed);
    const auto slope = [&](double q) {
      double sum = 0;
      for (size_t i = 0; i < p.size(); i += 2) {
        sum += (p[i + 1] - p[i]) / ((1 - q) * p[i] + q * p[i + 1]);
      }
      return sum;
    };
    double low = 0, high = 1;
    for (int i = 0; i < 60; ++i) {
      (slope((low + high) / 2) > 0 ? low : high) = (low + high) / 2;
    }
    const PriorEstimate estimate =
        EstimatePriorEm({p, 2000, 2}, {0.5, 0.5}).value();
    EXPECT_NEAR(estimate.prior[1], low, 1e-5) << seed;
    const bool is_inside = low > 1e-3 && low < 1 - 1e-3;
    inside += is_inside;
    EXPECT_LT(estimate.iterations, is_inside ? 100 : 10000) << seed;
  }
  EXPECT_GE(inside, 10);
}

// Of several classes: where no share can be moved for the better (the
// conditions of Karush, Kuhn and Tucker).
TEST(LabelShiftTest, NoOtherSharesOfSeveralClassesAreLikelier) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const int classes = 3 + static_cast<int>(seed % 4);
    const std::vector<double> p = WeakPosteriors(1000, classes, 100 + seed);
    const std::vector<double> source(classes, 1.0 / classes);
    const PriorEstimate estimate =
        EstimatePriorEm({p, 1000, classes}, source).value();
    double sum = 0;
    for (int c = 0; c < classes; ++c) {
      double gain = 0;
      for (int i = 0; i < 1000; ++i) {
        double mixture = 0;
        for (int d = 0; d < classes; ++d) {
          mixture += estimate.prior[d] * p[i * classes + d];
        }
        gain += p[i * classes + c] / mixture / 1000;
      }
      EXPECT_LE(gain, 1 + 1e-6) << seed << " class " << c;
      EXPECT_GE(gain, estimate.prior[c] > 1e-3 ? 1 - 1e-6 : 0) << seed;
      sum += estimate.prior[c];
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(LabelShiftTest, NoRecordOfAClassIsNoCertainty) {
  // 30 records that a weak classifier finds a little unlike class 1.
  std::vector<double> posteriors;
  for (int i = 0; i < 30; ++i) {
    const double p = i % 3 == 0 ? 0.55 : 0.35;
    posteriors.push_back(1 - p);
    posteriors.push_back(p);
  }
  const PriorEstimate estimate =
      EstimatePriorEm({posteriors, 30, 2}, std::vector<double>{0.5, 0.5})
          .value();
  EXPECT_NEAR(estimate.prior[1], 0, 1e-6);
  // Score of a record at prior 0: (2 p - 2 (1 - p)) / (2 (1 - p)).
  const double up = 0.1 / 0.45, down = -0.3 / 0.65;
  EXPECT_NEAR(estimate.deviation[1],
              1 / std::sqrt(10 * up * up + 20 * down * down), 1e-4);
  EXPECT_NEAR(estimate.deviation[0], estimate.deviation[1], 1e-9);
}

TEST(LabelShiftTest, RefusesWhatIsNoProbability) {
  EXPECT_THAT(EstimatePriorEm({{0.5, 0.4}, 1, 2}, {0.5, 0.5}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "adds up to"));
  EXPECT_THAT(EstimatePriorEm({{0.5, 0.5}, 1, 2}, {1, 0}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "above 0"));
  EXPECT_THAT(EstimatePriorEm({{0.5, 0.5}, 1, 2}, {1}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "classes"));
}

// Of scipy.optimize on the same objective.
TEST(CalibrationTest, FindsTheLeastCrossEntropy) {
  const std::vector<double> kLogits = {
      6.123,  -7.667, 1.254,  -1.703, -1.358, -0.647, -6.06,  -0.696, -2.596,
      9.969,  0.677,  -1.058, -0.844, -2.004, -3.165, -1.172, 1.446,  -0.716,
      2.873,  -0.599, 0.073,  4.637,  1.635,  -1.516, -0.549, 1.622,  5.805,
      -0.809, -0.731, 3.007,  -2.659, -0.875, 2.648,  1.741,  0.275,  2.01,
      -8.484, 3.064,  -2.879, -5.006, 0.829,  2.102,  -1.334, -3.229, 0.078,
      -0.158, 4.217,  2.242,  0.581,  3.335,  -0.617, -2.778, 1.752,  1.748,
      -0.644, -2.348, 0.687,  -7.482, 2.07,   1.474,  -4.917, 0.184,  -2.892,
      2.272,  -6.103, -2.743, 2.129,  3.469,  -6.474, -1.494, 0.984,  -1.828,
      4.772,  -3.574, 1.064,  -3.145, 4.218,  -0.065, -1.117, -5.155, 5.045,
      2.258,  2.261,  3.414,  1.048,  -1.918, -2.401, -2.401, 4.11,   -4.381,
      -1.789, -0.964, 0.674,  1.726,  -3.747, -5.19,  -0.013, 3.641,  2.271,
      0.647,  -0.951, 0.88,   -0.73,  2.452,  -2.383, 0.403,  -0.332, 1.63,
      0.674,  7.65,   4.496,  4.49,   -6.119, -1.021, -1.826, 1.598,  -6.837,
      3.523,  3.201,  -3.906};
  const std::vector<int64_t> kLabels = {
      0, 2, 1, 0, 0, 0, 0, 0, 2, 2, 0, 0, 1, 2, 0, 1, 1, 1, 2, 1,
      1, 0, 0, 0, 0, 1, 2, 1, 1, 1, 1, 0, 2, 2, 0, 1, 1, 0, 1, 0};
  const auto calibration = FitCalibration({kLogits, 40, 3}, kLabels);
  ASSERT_TRUE(calibration.ok()) << calibration.status();
  EXPECT_NEAR(calibration->temperature, 1.8785441192743033, 1e-6);
  EXPECT_NEAR(calibration->bias[0], 0.5741325297781871, 1e-6);
  EXPECT_NEAR(calibration->bias[1], -0.039455231278254045, 1e-6);
  EXPECT_NEAR(calibration->bias[2], -0.5346772984999331, 1e-6);
  EXPECT_NEAR(calibration->loss_before, 0.830784887930097, 1e-12);
  EXPECT_NEAR(calibration->loss_after, 0.636653442354581, 1e-9);
  const auto p = CalibratedPosteriors({kLogits, 40, 3}, *calibration);
  double loss = 0;
  for (int i = 0; i < 40; ++i) loss -= std::log((*p)[3 * i + kLabels[i]]) / 40;
  EXPECT_NEAR(loss, calibration->loss_after, 1e-12);
}

TEST(CalibrationTest, RefusesScoresThatSpeakAgainstTheLabels) {
  std::vector<double> logits;
  std::vector<int64_t> labels;
  for (int i = 0; i < 40; ++i) {
    labels.push_back(i % 2);
    logits.insert(logits.end(), {i % 2 == 1 ? 2.0 : -2.0, 0});
  }
  EXPECT_THAT(FitCalibration({logits, 40, 2}, labels).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "against"));
}

TEST(HomogeneityTest, ReproducesTheReferenceSet) {
  const auto test = TestHomogeneity({40, 12, 8}, {22, 20, 9});
  ASSERT_TRUE(test.ok());
  EXPECT_NEAR(test->statistic, 6.598278267663801, 1e-12);
  EXPECT_EQ(test->dof, 2);
  EXPECT_NEAR(test->p, 0.0369149325430343, 1e-12);
}

TEST(HomogeneityTest, LeavesOutCategoriesThatNeitherHas) {
  const auto with = TestHomogeneity({40, 0, 12, 8, 0}, {22, 0, 20, 9, 0});
  EXPECT_NEAR(with->p, 0.0369149325430343, 1e-12);
  EXPECT_EQ(TestHomogeneity({5, 0}, {9, 0})->p, 1);
  EXPECT_THAT(TestHomogeneity({0, 0}, {1, 2}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "no record"));
  EXPECT_THAT(TestHomogeneity({1, -1}, {1, 2}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "below 0"));
}

}  // namespace
}  // namespace fedgraft
