#include "aggregator/rules/distances.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using Spans = std::vector<absl::Span<const double>>;

TEST(DistanceMatrixTest, IsTheSquaredEuclideanDistance) {
  const std::vector<double> a = {1, 2}, b = {-2, 6}, c = {1, 2};
  DistanceMatrix distances(3, RingSpec{32, 16}, 8);
  distances.Add(Spans{a, b, c});
  EXPECT_EQ(distances.Squared(0, 1), 25);
  EXPECT_EQ(distances.Squared(1, 0), 25);
  EXPECT_EQ(distances.Squared(0, 2), 0);
  EXPECT_EQ(distances.Squared(1, 1), 0);
}

// In doubles, 1e16 + 1 + 1 would depend on what comes first.
TEST(DistanceMatrixTest, SumsAreExactInAnyOrderAndAnyPieces) {
  const std::vector<double> zero = {0, 0, 0}, far = {1e8, 1, 1};
  const auto part = [](const std::vector<double>& v, size_t from, size_t n) {
    return absl::MakeConstSpan(v).subspan(from, n);
  };
  const RingSpec ring{64, 0};
  DistanceMatrix whole(2, ring, 1e8), pieces(2, ring, 1e8), other(2, ring, 1e8);
  whole.Add(Spans{zero, far});
  pieces.Add(Spans{part(zero, 1, 2), part(far, 1, 2)});
  other.Add(Spans{part(zero, 0, 1), part(far, 0, 1)});
  pieces.Add(other);
  EXPECT_EQ(whole.Squared(0, 1), 1e16 + 2);
  EXPECT_EQ(pieces.Squared(0, 1), 1e16 + 2);
}

TEST(DistanceMatrixTest, TheFinestRingAndTheLargestValuesFit) {
  const RingSpec ring{64, 55};
  const double largest = 4 * 8192;  // a weight of 1 / 8192
  const std::vector<double> a(1000, largest), b(1000, -largest);
  DistanceMatrix distances(2, ring, largest);
  distances.Add(Spans{a, b});
  EXPECT_DOUBLE_EQ(distances.Squared(0, 1), 1000 * 4 * largest * largest);
}

}  // namespace
}  // namespace fedgraft
