#include "common/transfer/subspace.h"

#include <cmath>
#include <numbers>
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
using testing::Transposed;

// A Aᵀ: its first eigenvectors span the columns of A.
OwnedMatrix SpanOf(const OwnedMatrix& a) { return Product(a, Transposed(a)); }

OwnedMatrix Diagonal(const std::vector<double>& values) {
  const auto d = static_cast<int64_t>(values.size());
  OwnedMatrix matrix{std::vector<double>(d * d), d, d};
  for (int64_t i = 0; i < d; ++i) matrix.At(i, i) = values[i];
  return matrix;
}

TEST(SubspaceTest, AgreesWithTheReferenceSet) {
  OwnedMatrix a{{}, testing::kGoldenRecords, 2};
  for (int64_t i = 0; i < a.rows; ++i) {
    a.values.push_back(testing::kGoldenX[i * 3]);
    a.values.push_back(testing::kGoldenX[i * 3 + 1]);
  }
  const OwnedMatrix b{testing::kGoldenB, testing::kGoldenRecords, 2};
  const auto alignment = AlignSubspaces(SpanOf(a).View(), SpanOf(b).View(), 2);
  ASSERT_THAT(alignment, IsOk());
  for (int i = 0; i < 2; ++i) {
    EXPECT_NEAR(alignment->cosines[i], testing::kGoldenCosines[i], 1e-10);
    EXPECT_NEAR(alignment->angles[i], testing::kGoldenAngles[i], 1e-10);
  }
  EXPECT_NEAR(alignment->chordal, testing::kGoldenChordal, 1e-10);
}

TEST(SubspaceTest, MeasuresAKnownAngle) {
  for (double angle : {1e-7, 0.3, 1.5}) {
    // Directions 0 and 1, and direction 0 turned towards 2.
    const OwnedMatrix a = Diagonal({3, 2, 1e-3, 0});
    OwnedMatrix b = Diagonal({0, 2, 0, 1e-3});
    const double c = std::cos(angle), s = std::sin(angle);
    b.At(0, 0) = 3 * c * c;
    b.At(0, 2) = b.At(2, 0) = 3 * c * s;
    b.At(2, 2) = 3 * s * s;
    const auto alignment = AlignSubspaces(a.View(), b.View(), 2);
    ASSERT_THAT(alignment, IsOk());
    EXPECT_NEAR(alignment->angles[0], 0, 1e-12);
    EXPECT_NEAR(alignment->angles[1], angle, 1e-12);
    EXPECT_NEAR(alignment->chordal, s, 1e-12);
    EXPECT_NEAR(alignment->mean_cos2, (1 + c * c) / 2, 1e-12);
  }
}

TEST(SubspaceTest, KnowsEqualAndOrthogonalSubspaces) {
  const OwnedMatrix a = Diagonal({4, 3, 2, 1});
  const OwnedMatrix other_sizes = Diagonal({5, 9, 0.1, 0.2});
  const OwnedMatrix opposite = Diagonal({1, 2, 3, 4});
  const auto same = AlignSubspaces(a.View(), other_sizes.View(), 2);
  ASSERT_THAT(same, IsOk());
  EXPECT_EQ(same->mean_cos2, 1);
  EXPECT_EQ(same->chordal, 0);
  EXPECT_GT(same->z, 2);
  const auto none = AlignSubspaces(a.View(), opposite.View(), 2);
  ASSERT_THAT(none, IsOk());
  EXPECT_EQ(none->mean_cos2, 0);
  EXPECT_DOUBLE_EQ(none->chordal, std::sqrt(2));
  EXPECT_NEAR(none->angles[0], std::numbers::pi / 2, 1e-12);
  EXPECT_LT(none->z, -2);
}

// 3,000 pairs of random subspaces for each size, from Gaussian matrices. The
// mean must lie within 5 standard errors of the formula's and the deviation
// within 7 % (its own standard error is 1.3 to 1.8 %): a right formula fails
// for less than one seed in 10,000.
TEST(SubspaceTest, NullDistributionIsThatOfRandomSubspaces) {
  const int pairs = 3000;
  for (auto [d, r] : {std::pair<int64_t, int64_t>{6, 1}, {12, 3}, {16, 8}}) {
    double sum = 0, squares = 0;
    SubspaceAlignment last;
    for (int i = 0; i < pairs; ++i) {
      const OwnedMatrix a = RandomMatrix(d, r, 1000 * d + 2 * i);
      const OwnedMatrix b = RandomMatrix(d, r, 1000 * d + 2 * i + 1);
      const auto alignment =
          AlignSubspaces(SpanOf(a).View(), SpanOf(b).View(), r);
      ASSERT_THAT(alignment, IsOk());
      sum += alignment->mean_cos2;
      squares += alignment->mean_cos2 * alignment->mean_cos2;
      last = *alignment;
    }
    const double mean = sum / pairs;
    const double deviation = std::sqrt(squares / pairs - mean * mean);
    EXPECT_NEAR(mean, last.null_mean,
                5 * last.null_deviation / std::sqrt(pairs));
    EXPECT_NEAR(deviation / last.null_deviation, 1, 0.07) << d << ", " << r;
  }
}

TEST(SubspaceTest, RefusesMatricesWithoutSuchASubspace) {
  const OwnedMatrix a = Diagonal({4, 3, 2, 1});
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
  EXPECT_THAT(AlignSubspaces(a.View(), Diagonal({4, 3, 3, 1}).View(), 2),
              IsError(kFailed, "as much in direction 3 as in direction 2"));
  EXPECT_THAT(AlignSubspaces(Diagonal({4, 0, 0, 0}).View(), a.View(), 2),
              IsError(kFailed, "vary in 1 directions, not in 2"));
  EXPECT_THAT(AlignSubspaces(a.View(), a.View(), 4),
              IsError(kInvalid, "rank of 1 to 3, not 4"));
  EXPECT_THAT(AlignSubspaces(a.View(), a.View(), 0),
              IsError(kInvalid, "rank of 1 to 3, not 0"));
  EXPECT_THAT(AlignSubspaces(a.View(), Diagonal({3, 2, 1}).View(), 1),
              IsError(kInvalid, "one dimension, not 4 and 3"));
  EXPECT_THAT(AlignSubspaces(a.Rows(0, 3), a.View(), 1),
              IsError(kInvalid, "square matrix, not 3 x 4"));
  OwnedMatrix skew = a;
  skew.At(0, 1) = 1;
  EXPECT_THAT(AlignSubspaces(a.View(), skew.View(), 1),
              IsError(kInvalid, "not symmetric"));
}

}  // namespace
}  // namespace fedgraft
