#include <cmath>
#include <random>

#include "common/shift/bootstrap.h"
#include "common/shift/multiplicity.h"
#include "common/shift/paired_auc.h"
#include "gtest/gtest.h"
#include "tests/shift/golden.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using namespace testing;  // golden values
using testing::IsError;

TEST(PairedAucTest, ReproducesTheReferenceSet) {
  const auto result =
      CompareAuc(kGoldenAucLabels, kGoldenScoreA, kGoldenScoreB);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->auc_a, kGoldenAuc[0], 1e-12);
  EXPECT_NEAR(result->auc_b, kGoldenAuc[1], 1e-12);
  EXPECT_NEAR(result->variance_a, kGoldenAucCovariance[0], 1e-12);
  EXPECT_NEAR(result->covariance, kGoldenAucCovariance[1], 1e-12);
  EXPECT_NEAR(result->variance_b, kGoldenAucCovariance[3], 1e-12);
  EXPECT_NEAR(result->z, kGoldenAucZ, 1e-12);
  EXPECT_NEAR(result->p, kGoldenAucP, 1e-12);
}

TEST(PairedAucTest, EqualScoresDoNotDiffer) {
  const auto result =
      CompareAuc(kGoldenAucLabels, kGoldenScoreA, kGoldenScoreA);
  EXPECT_EQ(result->difference, 0);
  EXPECT_EQ(result->z, 0);
  EXPECT_EQ(result->p, 1);
  EXPECT_THAT(CompareAuc({1, 1, 0}, {1, 2, 3}, {1, 2, 3}).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "two records"));
}

TEST(MultiplicityTest, ReproducesTheReferenceSet) {
  const auto adjusted = AdjustPValues(kGoldenP);
  const auto dependent = AdjustPValues(kGoldenP, true);
  ASSERT_TRUE(adjusted.ok());
  int rejected = 0;
  for (size_t i = 0; i < kGoldenP.size(); ++i) {
    EXPECT_NEAR((*adjusted)[i], kGoldenAdjusted[i], 1e-12);
    EXPECT_NEAR((*dependent)[i],
                std::min(1.0, kGoldenAdjusted[i] * kGoldenByFactor), 1e-12);
    rejected += (*adjusted)[i] <= 0.05;
  }
  EXPECT_EQ(rejected, 2);
}

TEST(MultiplicityTest, KeepsTheOrderOfTheTests) {
  const auto adjusted = AdjustPValues({0.04, 0.01});
  EXPECT_NEAR((*adjusted)[0], 0.04, 1e-15);
  EXPECT_NEAR((*adjusted)[1], 0.02, 1e-15);
  EXPECT_TRUE(AdjustPValues({})->empty());
  EXPECT_THAT(AdjustPValues({1.5}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "1.5"));
}

// Coverage of the mean of a skewed distribution at n = 40: nominal 95 %, known
// to be 92-94 % for BCa; 150 runs leave [130, 149] with probability below .01.
TEST(BootstrapTest, CoversAtItsLevel) {
  int covered = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::mt19937_64 random(seed);
    std::exponential_distribution<double> exponential;
    std::vector<double> values(40);
    std::vector<int64_t> group(40);
    for (int i = 0; i < 40; ++i) {
      values[i] = exponential(random);
      group[i] = i;
    }
    const auto interval = BootstrapBca(
        group, {},
        [&values](absl::Span<const int64_t> drawn) {
          double sum = 0;
          for (int64_t i : drawn) sum += values[i];
          return sum / drawn.size();
        },
        seed, 400);
    ASSERT_TRUE(interval.ok()) << interval.status();
    covered += interval->low <= 1 && 1 <= interval->high;
  }
  EXPECT_GE(covered, 130);
  EXPECT_LE(covered, 149);
}

// Ten images of each patient say no more than one if they are equal.
TEST(BootstrapTest, DrawsPatientsNotImages) {
  std::vector<int64_t> group, single;
  std::vector<double> values;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (int patient = 0; patient < 20; ++patient) {
    const double value = normal(random);
    for (int image = 0; image < 10; ++image) {
      group.push_back(patient);
      single.push_back(10 * patient + image);
      values.push_back(value);
    }
  }
  const auto mean = [&values](absl::Span<const int64_t> drawn) {
    double sum = 0;
    for (int64_t i : drawn) sum += values[i];
    return sum / drawn.size();
  };
  const auto patients = BootstrapBca(group, {}, mean, 1);
  const auto images = BootstrapBca(single, {}, mean, 1);
  EXPECT_GT(patients->high - patients->low, 2.5 * (images->high - images->low));
  EXPECT_EQ(patients->estimate, images->estimate);
  EXPECT_THAT(BootstrapBca({1, 1, 2}, {}, mean, 1).status(),
              IsError(absl::StatusCode::kInvalidArgument, "three patients"));
}

}  // namespace
}  // namespace fedgraft
