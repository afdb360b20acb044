#include "common/transfer/product_sums.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using testing::OwnedMatrix;
using testing::RandomMatrix;

TEST(ProductSumsTest, PackedIndicesTileTheTriangle) {
  for (int64_t dim : {1, 2, 7}) {
    std::set<int64_t> seen;
    int64_t expected = 0;
    for (int64_t i = 0; i < dim; ++i) {
      for (int64_t j = i; j < dim; ++j) {
        EXPECT_EQ(PackedIndex(dim, i, j), expected++);
        EXPECT_EQ(PackedIndex(dim, j, i), PackedIndex(dim, i, j));
        seen.insert(PackedIndex(dim, i, j));
      }
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), PackedCount(dim));
  }
}

// Record counts around the size of a block, dimensions around that of a
// vector register.
TEST(ProductSumsTest, AddUpToTheDefinition) {
  for (int64_t n : {0, 1, 3, 4, 5, 8, 11}) {
    for (int64_t p : {1, 2, 3, 5, 8}) {
      const OwnedMatrix x = RandomMatrix(n, p, 10 * n + p);
      std::vector<double> self(PackedCount(p), 1);
      AddSelfProducts(x.View(), absl::MakeSpan(self));
      for (int64_t i = 0; i < p; ++i) {
        for (int64_t j = 0; j < p; ++j) {
          double sum = 1;
          for (int64_t k = 0; k < n; ++k) sum += x.At(k, i) * x.At(k, j);
          EXPECT_NEAR(self[PackedIndex(p, i, j)], sum, 1e-12);
        }
      }
    }
  }
}

}  // namespace
}  // namespace fedgraft
