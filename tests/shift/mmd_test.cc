#include "common/shift/mmd.h"

#include <cmath>
#include <random>

#include "common/shift/random_features.h"
#include "gtest/gtest.h"
#include "tests/shift/golden.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using namespace testing;  // golden values
using testing::IsError;

std::vector<double> MeanOf(const std::vector<double>& mapped, int64_t size) {
  std::vector<double> mean(size);
  for (size_t i = 0; i < mapped.size(); ++i) {
    mean[i % size] += mapped[i] * size / mapped.size();
  }
  return mean;
}

TEST(MmdTest, ReproducesTheReferenceSet) {
  const auto map = RandomFeatures::FromFrequencies({kGoldenFrequencies, 3, 4});
  const auto x = map->Map({kGoldenX, 12, 3});
  const auto z = map->Map({kGoldenZ, 15, 3});
  ASSERT_TRUE(x.ok() && z.ok());
  const std::vector<double> mean_z = MeanOf(*z, 8);
  for (int j = 0; j < 8; ++j) {
    EXPECT_NEAR(MeanOf(*x, 8)[j], kGoldenMeanX[j], 1e-12);
    EXPECT_NEAR(mean_z[j], kGoldenMeanZ[j], 1e-12);
  }
  const auto moments = MomentsOfEmbedding({*x, 12, 8});
  ASSERT_TRUE(moments.ok());
  EXPECT_NEAR(moments->covariance_trace, kGoldenMmdTrace, 1e-12);
  EXPECT_NEAR(moments->covariance_square, kGoldenMmdSquare, 1e-12);
  const auto test = TestMmd(*moments, mean_z, 15);
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_NEAR(test->statistic, kGoldenMmdStatistic, 1e-12);
  EXPECT_NEAR(test->mmd2, kGoldenMmd2, 1e-12);
  EXPECT_NEAR(test->scale, kGoldenMmdScale, 1e-12);
  EXPECT_NEAR(test->dof, kGoldenMmdDof, 1e-9);
  EXPECT_NEAR(test->p, kGoldenMmdP, 1e-10);
}

// One federation: a sample of `n` and a reference of 10 n, features heavier in
// the tails than normal; the sample's first feature is moved by `shift`.
double PValue(int64_t n, double shift, uint64_t seed,
              const RandomFeatures& map) {
  std::mt19937_64 random(seed);
  std::student_t_distribution<double> student(5);
  const auto draw = [&](int64_t rows, double move) {
    OwnedMatrix matrix{std::vector<double>(rows * 8), rows, 8};
    for (double& v : matrix.values) v = student(random);
    for (int64_t r = 0; r < rows; ++r) matrix.At(r, 0) += move;
    return matrix;
  };
  const OwnedMatrix sample = draw(n, shift);
  const OwnedMatrix reference = draw(10 * n, 0);
  const auto mapped = map.Map(sample.View());
  const auto moments = MomentsOfEmbedding({*mapped, n, map.size()});
  return TestMmd(*moments, MeanOf(*map.Map(reference.View()), map.size()),
                 10.0 * n)
      ->p;
}

// Size at 5 %: 400 null federations per size. An exact test leaves [.02, .09]
// with probability below 0.003; seeded.
TEST(MmdTest, RejectsAtItsLevelWithoutShiftAndOftenWithIt) {
  const auto map = RandomFeatures::Create(8, 64, 3.5, 11);
  ASSERT_TRUE(map.ok());
  for (int64_t n : {60, 200}) {
    int rejected = 0, found = 0;
    for (uint64_t seed = 0; seed < 400; ++seed) {
      rejected += PValue(n, 0, seed, *map) < 0.05;
    }
    for (uint64_t seed = 0; seed < 50; ++seed) {
      found += PValue(n, 1.5, 1000 + seed, *map) < 0.05;
    }
    EXPECT_GE(rejected, 8) << n;
    EXPECT_LE(rejected, 36) << n;
    EXPECT_GE(found, 45) << n;
  }
}

TEST(MmdTest, LeavesTheSamplesOwnRecordsOutOfThePool) {
  const auto rest = LeaveOneOutMean({2, 5}, 10, {1, 8}, 4);
  ASSERT_TRUE(rest.ok());
  EXPECT_NEAR((*rest)[0], (20 - 4) / 6.0, 1e-15);
  EXPECT_NEAR((*rest)[1], (50 - 32) / 6.0, 1e-15);
  EXPECT_THAT(LeaveOneOutMean({1}, 4, {1}, 4).status(),
              IsError(absl::StatusCode::kInvalidArgument,
                      "records besides the site's"));
}

TEST(MmdTest, RefusesWhatItCannotJudge) {
  const std::vector<double> same(5 * 2, 0.5);
  const auto moments = MomentsOfEmbedding({same, 5, 2});
  ASSERT_TRUE(moments.ok());
  EXPECT_THAT(TestMmd(*moments, {0.5, 0.5}, 10).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "all equal"));
  EXPECT_THAT(MomentsOfEmbedding({same, 3, 2}).status(),
              IsError(absl::StatusCode::kInvalidArgument, ""));
  EXPECT_THAT(
      TestMmd(*MomentsOfEmbedding({{1, 0, 0, 1, 1, 1, 0, 0}, 4, 2}), {1}, 9)
          .status(),
      IsError(absl::StatusCode::kInvalidArgument, "random features"));
}

TEST(RandomFeaturesTest, ApproximatesTheGaussianKernel) {
  const auto map = RandomFeatures::Create(3, 4096, 1.5, 5);
  ASSERT_TRUE(map.ok());
  const auto mapped = map->Map({kGoldenX, 12, 3});
  ASSERT_TRUE(mapped.ok());
  for (int a = 0; a < 12; ++a) {
    for (int b = 0; b < 12; ++b) {
      double dot = 0, square = 0;
      for (int64_t j = 0; j < map->size(); ++j) {
        dot += (*mapped)[a * map->size() + j] * (*mapped)[b * map->size() + j];
      }
      for (int i = 0; i < 3; ++i) {
        square += std::pow(kGoldenX[3 * a + i] - kGoldenX[3 * b + i], 2);
      }
      // Standard deviation of the approximation: below 1 / sqrt(2048).
      EXPECT_NEAR(dot, std::exp(-square / 4.5), a == b ? 1e-12 : 0.1);
    }
  }
}

TEST(RandomFeaturesTest, SitesWithOneSeedHaveOneMap) {
  const auto a = RandomFeatures::Create(3, 8, 1, 7)->Map({kGoldenX, 12, 3});
  const auto b = RandomFeatures::Create(3, 8, 1, 7)->Map({kGoldenX, 12, 3});
  const auto c = RandomFeatures::Create(3, 8, 1, 8)->Map({kGoldenX, 12, 3});
  EXPECT_EQ(*a, *b);
  EXPECT_NE(*a, *c);
}

TEST(RandomFeaturesTest, TakesTheMedianDistanceAsBandwidth) {
  // Distances 1, 3 and 4.
  EXPECT_NEAR(*MedianBandwidth({{0, 1, 4}, 3, 1}, 1), 3 / std::sqrt(2), 1e-15);
  const OwnedMatrix many = RandomMatrix(3000, 4, 3);
  EXPECT_NEAR(*MedianBandwidth(many.View(), 1, 4000),
              *MedianBandwidth(many.View(), 2, 4000000), 0.05);
  EXPECT_THAT(MedianBandwidth({{1, 1, 1}, 3, 1}, 1).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "equal"));
}

}  // namespace
}  // namespace fedgraft
