#include "common/transfer/cka.h"

#include <Eigen/Dense>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;
using testing::OwnedMatrix;
using testing::Product;
using testing::RandomMatrix;

constexpr CkaEstimator kEstimators[] = {CkaEstimator::kBiased,
                                        CkaEstimator::kUnbiased};

double FromMatrices(const OwnedMatrix& x, const OwnedMatrix& y,
                    CkaEstimator estimator) {
  const auto cka = LinearCka(x.View(), y.View(), estimator);
  EXPECT_THAT(cka, IsOk());
  return cka.value_or(NAN);
}

Eigen::MatrixXd Gram(const OwnedMatrix& x) {
  Eigen::MatrixXd gram(x.rows, x.rows);
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t j = 0; j < x.rows; ++j) {
      gram(i, j) = 0;
      for (int64_t k = 0; k < x.columns; ++k) {
        gram(i, j) += x.At(i, k) * x.At(j, k);
      }
    }
  }
  return gram;
}

// HSIC₁ as it is defined: Gram matrices of uncentred features without their
// diagonals.
double DefinedHsic1(const OwnedMatrix& x, const OwnedMatrix& y) {
  Eigen::MatrixXd k = Gram(x), l = Gram(y);
  k.diagonal().setZero();
  l.diagonal().setZero();
  const auto n = static_cast<double>(x.rows);
  return ((k * l).trace() + k.sum() * l.sum() / ((n - 1) * (n - 2)) -
          2 / (n - 2) * (k * l).sum()) /
         (n * (n - 3));
}

double DefinedUnbiasedCka(const OwnedMatrix& x, const OwnedMatrix& y) {
  return DefinedHsic1(x, y) /
         std::sqrt(DefinedHsic1(x, x) * DefinedHsic1(y, y));
}

// A rotation of `dim` dimensions.
OwnedMatrix Rotation(int64_t dim, uint64_t seed) {
  const OwnedMatrix random = RandomMatrix(dim, dim, seed);
  const Eigen::MatrixXd q =
      Eigen::HouseholderQR<Eigen::MatrixXd>(
          Eigen::Map<const Eigen::MatrixXd>(random.values.data(), dim, dim))
          .householderQ();
  return {{q.data(), q.data() + q.size()}, dim, dim};
}

TEST(CkaTest, AgreesWithTheReferenceSet) {
  const OwnedMatrix x{testing::kGoldenX, testing::kGoldenRecords, 3};
  const OwnedMatrix y{testing::kGoldenY, testing::kGoldenRecords, 4};
  EXPECT_NEAR(FromMatrices(x, y, CkaEstimator::kBiased),
              testing::kGoldenCkaBiased, 1e-12);
  EXPECT_NEAR(FromMatrices(x, y, CkaEstimator::kUnbiased),
              testing::kGoldenCkaUnbiased, 1e-12);
}

TEST(CkaTest, IsExactlyOneForEqualFeatures) {
  for (int64_t n : {4, 5, 30}) {
    for (int64_t p : {1, 3, 17, 64}) {
      const OwnedMatrix x = RandomMatrix(n, p, n + p, 0.7), copy = x;
      for (CkaEstimator estimator : kEstimators) {
        EXPECT_EQ(FromMatrices(x, copy, estimator), 1) << n << " x " << p;
      }
    }
  }
}

TEST(CkaTest, DoesNotSeeRotationScaleAndShift) {
  const OwnedMatrix x = RandomMatrix(25, 6, 1), y = RandomMatrix(25, 9, 2);
  OwnedMatrix turned = Product(x, Rotation(6, 3));
  for (double& value : turned.values) value = 2.5 * value - 4;
  for (CkaEstimator estimator : kEstimators) {
    EXPECT_NEAR(FromMatrices(x, turned, estimator), 1, 1e-9);
    EXPECT_NEAR(FromMatrices(turned, y, estimator),
                FromMatrices(x, y, estimator), 1e-9);
  }
}

TEST(CkaTest, SeesAStretch) {
  const OwnedMatrix x = RandomMatrix(25, 6, 1);
  OwnedMatrix stretched = x;
  for (int64_t i = 0; i < x.rows; ++i) stretched.At(i, 0) *= 3;
  for (CkaEstimator estimator : kEstimators) {
    EXPECT_LT(FromMatrices(x, stretched, estimator), 0.9);
  }
}

TEST(CkaTest, UnbiasedIsTheDefinitions) {
  for (int64_t n : {4, 9, 40}) {
    const OwnedMatrix x = RandomMatrix(n, 7, n, 1);
    const OwnedMatrix y = Product(x, RandomMatrix(7, 5, 100 + n));
    const double expected = DefinedUnbiasedCka(x, y);
    EXPECT_NEAR(FromMatrices(x, y, CkaEstimator::kUnbiased), expected, 1e-10);
  }
}

// 200 pairs of unrelated representations, 20 records of 20 features. The mean
// of the unbiased values is 0 to within five standard errors (false alarms: 1
// in 1.7 million seeds); the biased ones are all near 1/2.
TEST(CkaTest, OnlyTheUnbiasedSeesThatFeaturesAreUnrelated) {
  double sum = 0, squares = 0;
  const int pairs = 200;
  for (int i = 0; i < pairs; ++i) {
    const OwnedMatrix x = RandomMatrix(20, 20, 2 * i);
    const OwnedMatrix y = RandomMatrix(20, 20, 2 * i + 1);
    const double value = FromMatrices(x, y, CkaEstimator::kUnbiased);
    sum += value;
    squares += value * value;
    EXPECT_GT(FromMatrices(x, y, CkaEstimator::kBiased), 0.35);
  }
  const double error = std::sqrt(squares) / pairs;
  EXPECT_LT(std::abs(sum / pairs), 5 * error);
  EXPECT_LT(error, 0.02);
}

TEST(MinibatchCkaTest, IsTheRatioOfMeans) {
  const OwnedMatrix x = RandomMatrix(24, 5, 1);
  const OwnedMatrix y = Product(x, RandomMatrix(5, 4, 2));
  MinibatchCka one, three;
  ASSERT_THAT(one.Add(x.View(), y.View()), IsOk());
  EXPECT_EQ(one.Cka().value_or(NAN),
            FromMatrices(x, y, CkaEstimator::kUnbiased));
  double xy = 0, xx = 0, yy = 0;
  for (int64_t begin : {0, 8, 16}) {
    const MatrixView a = x.Rows(begin, begin + 8), b = y.Rows(begin, begin + 8);
    ASSERT_THAT(three.Add(a, b), IsOk());
    const OwnedMatrix part_x{{a.values.begin(), a.values.end()}, 8, 5};
    const OwnedMatrix part_y{{b.values.begin(), b.values.end()}, 8, 4};
    xy += DefinedHsic1(part_x, part_y);
    xx += DefinedHsic1(part_x, part_x);
    yy += DefinedHsic1(part_y, part_y);
  }
  EXPECT_NEAR(three.Cka().value_or(NAN), xy / std::sqrt(xx * yy), 1e-10);
}

TEST(MinibatchCkaTest, SumsOfSitesGiveTheValueOfAllTheirBatches) {
  const OwnedMatrix x = RandomMatrix(30, 8, 1, 1);
  const OwnedMatrix y = Product(x, RandomMatrix(8, 11, 2));
  MinibatchCka here, there, all, total;
  for (int64_t begin : {0, 10, 20}) {
    const MatrixView a = x.Rows(begin, begin + 10);
    const MatrixView b = y.Rows(begin, begin + 10);
    ASSERT_THAT((begin < 20 ? here : there).Add(a, b), IsOk());
    ASSERT_THAT(all.Add(a, b), IsOk());
  }
  total.Merge(here.sums());
  total.Merge(there.sums());
  EXPECT_DOUBLE_EQ(total.Cka().value_or(NAN), all.Cka().value_or(NAN));
  // Equal features: exactly 1, however the sums are put together.
  MinibatchCka equal, twice;
  ASSERT_THAT(equal.Add(x.View(), x.View()), IsOk());
  twice.Merge(equal.sums());
  twice.Merge({3, 3, 3});
  EXPECT_EQ(twice.Cka().value_or(NAN), 1);
}

TEST(CkaTest, RefusesWhatHasNoValue) {
  const OwnedMatrix x = RandomMatrix(6, 3, 1), short_x = RandomMatrix(3, 3, 1);
  OwnedMatrix constant{std::vector<double>(18, 0.1), 6, 3}, nan = x;
  nan.At(2, 1) = NAN;
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  for (CkaEstimator estimator : kEstimators) {
    EXPECT_THAT(LinearCka(x.View(), constant.View(), estimator),
                IsError(kFailed, "does not vary"));
    EXPECT_THAT(LinearCka(nan.View(), x.View(), estimator),
                IsError(kInvalid, "value 1 of record 2"));
    EXPECT_THAT(LinearCka(x.View(), short_x.View(), estimator),
                IsError(kInvalid, "not 6 and 3"));
  }
  EXPECT_THAT(
      LinearCka(short_x.View(), short_x.View(), CkaEstimator::kUnbiased),
      IsError(kFailed, "at least 4 records, not 3"));
  EXPECT_THAT(LinearCka(short_x.View(), short_x.View(), CkaEstimator::kBiased),
              IsOk());
  MinibatchCka batches;
  EXPECT_THAT(batches.Add(short_x.View(), short_x.View()),
              IsError(kFailed, "at least 4"));
  EXPECT_THAT(batches.Cka(), IsError(kFailed, "does not vary"));
}

}  // namespace
}  // namespace fedgraft
