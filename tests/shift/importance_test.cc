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

struct Embedded {
  std::vector<double> phi, target;  // [8, 4], [4]
};
Embedded SmallEmbedding() {
  Embedded small{std::vector<double>(32), std::vector<double>(4)};
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 4; ++j) {
      small.phi[4 * i + j] = 0.5 * std::cos(0.7 * i + 1.3 * j * j);
      small.target[j] += small.phi[4 * i + j] / 8;
    }
  }
  for (int j = 0; j < 4; ++j) small.target[j] += 0.05 * std::sin(j + 1);
  return small;
}

// NumPy: least squares on the basis (1, phi) without penalty on the constant.
TEST(ImportanceTest, EmbeddingsReproduceTheReferenceSet) {
  const Embedded small = SmallEmbedding();
  constexpr double kFull[] = {1.18126755307001,  1.03885505340937,
                              0.891017506597611, 0.807285220925697,
                              0.827038798698181, 0.940987823630499,
                              1.09554028879435,  1.21800775487429};
  constexpr double kHalf[] = {1.08981637111451,  1.0220135844458,
                              0.946503683844158, 0.900933406898195,
                              0.911889325782212, 0.972682700596782,
                              1.04952639859039,  1.10663452872795};
  const auto full =
      FitEmbeddingImportance({small.phi, 8, 4}, small.target, 0.01, 1);
  const auto half =
      FitEmbeddingImportance({small.phi, 8, 4}, small.target, 0.01, 0.5);
  ASSERT_TRUE(full.ok() && half.ok());
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(full->weights[i], kFull[i], 1e-10) << i;
    EXPECT_NEAR(half->weights[i], kHalf[i], 1e-10) << i;
  }
  EXPECT_NEAR(full->share, 0.978780389479895, 1e-10);
  EXPECT_NEAR(half->share, 0.994584346905198, 1e-10);
}

TEST(ImportanceTest, ASourceThatIsTheTargetHasWeightsOfOne) {
  const Embedded small = SmallEmbedding();
  const auto fit = FitEmbeddingImportance({small.phi, 8, 4},
                                          ColumnMeans(small.phi, 4), 0.01, 1);
  ASSERT_TRUE(fit.ok()) << fit.status();
  for (double weight : fit->weights) EXPECT_NEAR(weight, 1, 1e-12);
  EXPECT_NEAR(fit->share, 1, 1e-12);
}

// What is left of 10 records of which one counts for everything.
TEST(ImportanceTest, TheShareTellsHowFewRecordsAreLeft) {
  std::vector<double> weights(10, 0.0);
  weights[3] = 5;
  const auto one = NormalizeImportance(weights, 1);
  ASSERT_TRUE(one.ok());
  EXPECT_NEAR(one->share, 0.1, 1e-12);
  EXPECT_NEAR(one->weights[3], 10, 1e-12);
  // A larger weight is cut.
  const auto cut = NormalizeImportance({1e6, 1}, 1);
  EXPECT_NEAR(cut->weights[0] / cut->weights[1], kWeightMax, 1e-9);
}

TEST(ImportanceTest, EmbeddingsOfOtherSizesAndWeightsOfNoSenseAreRefused) {
  const Embedded small = SmallEmbedding();
  const MatrixView phi{small.phi, 8, 4};
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(FitEmbeddingImportance(phi, {{1, 2}}, 0.1, 1),
              IsError(kInvalid, "target mean of 4"));
  EXPECT_THAT(FitEmbeddingImportance(phi, small.target, 0, 1),
              IsError(kInvalid, "lambda above 0"));
  EXPECT_THAT(FitEmbeddingImportance(phi, small.target, 0.1, 0),
              IsError(kInvalid, "flattening"));
  EXPECT_THAT(NormalizeImportance({1, -1}, 1), IsError(kInvalid, "-1"));
  EXPECT_THAT(NormalizeImportance({0, 0}, 1),
              IsError(absl::StatusCode::kFailedPrecondition, "no source"));
}

}  // namespace
}  // namespace fedgraft
