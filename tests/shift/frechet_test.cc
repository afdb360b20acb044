#include "common/shift/frechet.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tests/shift/golden.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using namespace testing;  // golden values
using testing::IsError;

TEST(FrechetTest, ReproducesTheReferenceSet) {
  const auto x = MomentsOfRecords({kGoldenX, 12, 3});
  const auto z = MomentsOfRecords({kGoldenZ, 15, 3});
  ASSERT_TRUE(x.ok() && z.ok());
  EXPECT_NEAR(*FrechetDistance(*x, *z), kGoldenFrechet, 1e-9);
  EXPECT_NEAR(*FrechetDistance(*z, *x), kGoldenFrechet, 1e-9);
  EXPECT_NEAR(*FrechetDistance(*x, *x), 0, 1e-12);
}

// Published: 64 features, eigenvalues 1/i, n = 500 and m = 5000: mean distance
// without shift .1075 (formula: .1056).
TEST(FrechetTest, TakesTheBiasOfSmallSamplesOff) {
  const auto draw = [](uint64_t seed, int64_t n) {
    OwnedMatrix records = RandomMatrix(n, 64, seed);
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t i = 0; i < 64; ++i) records.At(r, i) /= std::sqrt(i + 1.0);
    }
    return *MomentsOfRecords(records.View());
  };
  double distance = 0, debiased = 0;
  int rejected = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const auto test =
        TestFrechet(draw(2 * seed, 500), draw(2 * seed + 1, 5000), seed, 50);
    ASSERT_TRUE(test.ok()) << test.status();
    distance += test->distance / 10;
    debiased += test->debiased / 10;
    rejected += test->p < 0.05;
  }
  EXPECT_NEAR(distance, 0.1075, 0.005);
  EXPECT_NEAR(debiased, 0, 0.01);
  EXPECT_LE(rejected, 3);  // 0.1 % of the time more
  GaussianMoments moved = draw(1, 500);
  moved.mean[0] += 0.5;
  EXPECT_LT(TestFrechet(moved, draw(2, 5000), 3)->p, 0.01);
}

TEST(FrechetTest, RefusesFewerRecordsThanItCanTrust) {
  const auto few = *MomentsOfRecords(RandomMatrix(40, 10, 1).View());
  EXPECT_THAT(TestFrechet(few, few, 1).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "40 records"));
  GaussianMoments negative = few;
  negative.covariance[0] = -1;
  EXPECT_THAT(FrechetDistance(negative, few).status(),
              IsError(absl::StatusCode::kInvalidArgument, "semidefinite"));
}

}  // namespace
}  // namespace fedgraft
