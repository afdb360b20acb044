#include "common/shift/efficient_score.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::OwnedMatrix;

const std::vector<double> kFeatures = {
    -0.333, 0.853,  -0.407, -0.154, 0.814,  0.645,  1.695,  -2.09,  0.857,
    -0.482, 0.135,  0.838,  1.083,  1.039,  0.155,  1.61,   -0.283, -0.141,
    0.799,  -0.551, 2.161,  1.019,  2.176,  -0.027, -0.383, 0.167,  0.735,
    -0.587, 0.38,   -0.017, 1.616,  -0.663, 1.046,  -0.644, -0.961, -0.71,
    -1.19,  0.146,  1.031,  0.164,  0.624,  1.632,  0.27,   0.195,  -0.275,
    -1.608, 0.76,   -1.756, 0.653,  -0.014, 1.127,  -0.068, -0.823, 0.358,
    -0.56,  -0.181, 0.042,  -0.135, -0.189, -0.832, -0.189, -2.138, -0.157,
    -1.198, 1.12,   1.27,   -1.951, 0.145,  -0.126, -1.047, 0.532,  -0.462,
    -1.768, -0.267, -0.148, 0.106,  -1.231, 0.616,  0.735,  -1.146};
const std::vector<int64_t> kOutcomes = {
    0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1,
    1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1};

// Of numpy, by the formulas of the test.
TEST(EfficientScoreTest, ReproducesTheStatisticsOfAReference) {
  ReferenceHead head{
      2, 2, {0.1, 0.9, -0.4}, {.02, .001, 0, .001, .03, .002, 0, .002, .025}};
  const auto tests = TestConcept({kFeatures, 40, 2}, kOutcomes, head);
  ASSERT_TRUE(tests.ok()) << tests.status();
  EXPECT_NEAR(tests->intercepts[0], 0.07636476435613947, 1e-7);
  EXPECT_NEAR(tests->concept_shift.statistic, 4.5004489454015815, 1e-6);
  EXPECT_NEAR(tests->concept_shift.p, 0.10537556796849472, 1e-7);
  EXPECT_EQ(tests->concept_shift.dof, 2);
  EXPECT_NEAR(tests->label_shift.statistic, 0.003922817236382218, 1e-9);
  EXPECT_NEAR(tests->label_shift.p, 0.9500592304538266, 1e-9);
}

// Of scipy.optimize on the same objective.
TEST(EfficientScoreTest, FitsAMultinomialHead) {
  std::vector<int64_t> labels;
  for (int i = 0; i < 10; ++i) labels.insert(labels.end(), {0, 1, 2, 0});
  const auto head = FitReferenceHead({kFeatures, 40, 2}, labels, 3, 0.5);
  ASSERT_TRUE(head.ok()) << head.status();
  const double expected[] = {-0.5703790251953943,  -0.5646895806681655,
                             0.010865253334472545, -0.5629413840138414,
                             -0.4358771155887344,  0.09136706054462472};
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(head->coefficients[i], expected[i], 1e-5) << i;
  }
}

// Records of a multinomial logistic model of `classes` on k normal features.
struct World {
  int classes = 2;
  int64_t k = 4;
  double slope_change = 0;      // added to the first slope of class 1
  double intercept_change = 0;  // added to the intercept of class 1
  double feature_shift = 0;     // of every feature
};
struct Records {
  OwnedMatrix features;
  std::vector<int64_t> labels;
};
Records DrawRecords(const World& world, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(world.feature_shift, 1);
  std::uniform_real_distribution<double> uniform;
  Records records{{std::vector<double>(n * world.k), n, world.k}, {}};
  for (double& v : records.features.values) v = normal(random);
  for (int64_t r = 0; r < n; ++r) {
    std::vector<double> odds = {1};
    double sum = 1;
    for (int c = 1; c < world.classes; ++c) {
      double eta = c == 1 ? 0.2 + world.intercept_change : -0.2;
      for (int64_t i = 0; i < world.k; ++i) {
        const double slope = ((i + c) % 3 - 1) * 0.7 +
                             (i == 0 && c == 1 ? world.slope_change : 0);
        eta += slope * records.features.At(r, i);
      }
      odds.push_back(std::exp(eta));
      sum += odds.back();
    }
    double u = uniform(random) * sum;
    int64_t label = 0;
    while (label + 1 < world.classes && u > odds[label]) u -= odds[label++];
    records.labels.push_back(label);
  }
  return records;
}

struct Rejections {
  int concept_shift = 0, label_shift = 0, runs = 0;
};
Rejections Count(const World& world, int64_t n, int runs) {
  Rejections rejections;
  for (int run = 0; run < runs; ++run) {
    World same;
    same.classes = world.classes;
    const Records pool = DrawRecords(same, 1000, 10000 + run);
    const Records site = DrawRecords(world, n, run);
    const auto head =
        FitReferenceHead(pool.features.View(), pool.labels, world.classes);
    const auto tests = TestConcept(site.features.View(), site.labels, *head);
    if (!tests.ok()) continue;  // a class without a record
    ++rejections.runs;
    rejections.concept_shift += tests->concept_shift.p < 0.05;
    rejections.label_shift += tests->label_shift.p < 0.05;
  }
  EXPECT_GE(rejections.runs, runs * 9 / 10);
  return rejections;
}

// Size at 5 % over 400 null sites: an exact test leaves [.02, .09] with
// probability below 0.003; seeded.
TEST(EfficientScoreTest, RejectsAtItsLevelWhateverMovesButTheConcept) {
  World nothing, labels, covariates, three;
  labels.intercept_change = 1.4;
  covariates.feature_shift = 0.5;
  three.classes = 3;
  for (const World& world : {nothing, labels, covariates, three}) {
    const Rejections rejections = Count(world, 100, 400);
    EXPECT_GE(rejections.concept_shift, 8);
    EXPECT_LE(rejections.concept_shift, 36);
  }
  const Rejections quiet = Count(nothing, 100, 400);
  EXPECT_GE(quiet.label_shift, 8);
  EXPECT_LE(quiet.label_shift, 36);
}

TEST(EfficientScoreTest, FindsMovedInterceptsAndMovedSlopes) {
  World labels, slopes;
  labels.intercept_change = 1.4;
  slopes.slope_change = 1.5;
  EXPECT_GE(Count(labels, 200, 50).label_shift, 48);
  EXPECT_GE(Count(slopes, 200, 50).concept_shift, 45);
}

TEST(EfficientScoreTest, RefusesTooFewRecordsAndAnEmptyClass) {
  World world;
  world.k = 10;
  const Records few = DrawRecords(world, 40, 1);
  ReferenceHead head{2, 10, std::vector<double>(11), std::vector<double>(121)};
  EXPECT_THAT(
      TestConcept(few.features.View(), few.labels, head).status(),
      IsError(absl::StatusCode::kFailedPrecondition, "40 records for 10"));
  EXPECT_THAT(
      TestConcept(few.features.View(), std::vector<int64_t>(40), head).status(),
      IsError(absl::StatusCode::kFailedPrecondition, "class 1"));
}

}  // namespace
}  // namespace fedgraft
