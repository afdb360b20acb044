#include "common/shift/importance.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "tests/shift/golden.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using namespace testing;  // golden values
using testing::IsError;

std::vector<double> ColumnMeans(const std::vector<double>& values, int64_t b) {
  std::vector<double> means(b);
  for (size_t i = 0; i < values.size(); ++i) {
    means[i % b] += values[i] * b / values.size();
  }
  return means;
}

TEST(ImportanceTest, ReproducesTheReferenceSet) {
  const MatrixView centers{absl::MakeSpan(kGoldenZ).subspan(0, 12), 4, 3};
  const auto source = KernelValues({kGoldenX, 12, 3}, centers, 1.5);
  const auto target = KernelValues({kGoldenZ, 15, 3}, centers, 1.5);
  ASSERT_TRUE(source.ok() && target.ok());
  const std::vector<double> mean = ColumnMeans(*target, 4);
  for (int c = 0; c < 4; ++c) EXPECT_NEAR(mean[c], kGoldenUlsifH[c], 1e-12);
  const auto fit = FitImportance({*source, 12, 4}, mean, 0.1);
  ASSERT_TRUE(fit.ok()) << fit.status();
  double sum = 0;
  for (double w : kGoldenUlsifWeights) sum += w / 12;
  for (int c = 0; c < 4; ++c) {
    EXPECT_NEAR(fit->coefficients[c], kGoldenUlsifAlpha[c], 1e-10);
  }
  for (int i = 0; i < 12; ++i) {
    EXPECT_NEAR(fit->weights[i], kGoldenUlsifWeights[i] / sum, 1e-10);
  }
}

// N(0, 1) to N(1, 1): the weighted source mean moves to the target's.
TEST(ImportanceTest, MovesTheSourceToTheTarget) {
  const OwnedMatrix source = RandomMatrix(2000, 1, 1);
  const OwnedMatrix target = RandomMatrix(2000, 1, 2, 1);
  const MatrixView centers = target.Rows(0, 50);
  const auto kernel = KernelValues(source.View(), centers, 0.7);
  const auto mean = ColumnMeans(*KernelValues(target.View(), centers, 0.7), 50);
  const auto full = FitImportance({*kernel, 2000, 50}, mean, 0.1);
  const auto half = FitImportance({*kernel, 2000, 50}, mean, 0.1, 0.5);
  ASSERT_TRUE(full.ok() && half.ok());
  double moved = 0, half_moved = 0;
  for (int i = 0; i < 2000; ++i) {
    moved += full->weights[i] * source.values[i] / 2000;
    half_moved += half->weights[i] * source.values[i] / 2000;
  }
  EXPECT_NEAR(moved, 1, 0.2);
  EXPECT_LT(half_moved, moved);
  EXPECT_GT(half->effective_size, full->effective_size);
  EXPECT_LT(full->effective_size, 2000);
  const auto none = FitImportance({*kernel, 2000, 50}, mean, 0.1, 0);
  EXPECT_NEAR(none->effective_size, 2000, 1e-6);
}

TEST(ImportanceTest, RefusesATargetThatFewRecordsReach) {
  OwnedMatrix source = RandomMatrix(200, 1, 1);
  source.values[0] = 8;
  const std::vector<double> center = {8};
  const auto kernel = KernelValues(source.View(), {center, 1, 1}, 0.5);
  EXPECT_THAT(FitImportance({*kernel, 200, 1}, {1}, 0.1).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "worth"));
  EXPECT_THAT(FitImportance({*kernel, 200, 1}, {1, 2}, 0.1).status(),
              IsError(absl::StatusCode::kInvalidArgument, "target mean"));
}

}  // namespace
}  // namespace fedgraft
