#include "common/numeric/dense_products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "common/numeric/dense_kernels.h"
#include "common/numeric/sin_cos.h"

namespace fedgraft {
namespace {

struct Level {
  std::string name;
  const DenseKernels* kernels;
};

std::vector<Level> Levels() {
  return {{"portable", PortableDenseKernels()},
          {"avx2", Avx2DenseKernels()},
          {"avx512", Avx512DenseKernels()}};
}

// Whole numbers: every sum is exact, whatever its order.
std::vector<double> Whole(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> values(count);
  for (double& value : values)
    value = static_cast<double>(random() % 201) - 100;
  return values;
}

struct Sizes {
  int64_t m, inner, n;
};
// Around the tiles of every level, and more rows than one pass takes.
constexpr Sizes kSizes[] = {{1, 1, 1},     {3, 5, 2},    {8, 128, 16},
                            {7, 129, 15},  {9, 130, 17}, {33, 300, 41},
                            {64, 257, 64}, {2, 0, 3}};

TEST(DenseProductsTest, EveryLevelAddsTheProductToWhatIsThere) {
  for (const Level& level : Levels()) {
    if (level.kernels == nullptr) continue;
    for (const Sizes& size : kSizes) {
      SCOPED_TRACE(level.name + " " + std::to_string(size.m));
      const std::vector<double> a = Whole(size.m * size.inner, 1);
      const std::vector<double> b = Whole(size.inner * size.n, 2);
      std::vector<double> out = Whole(size.m * size.n, 3), expected = out;
      for (int64_t i = 0; i < size.m; ++i) {
        for (int64_t j = 0; j < size.n; ++j) {
          for (int64_t k = 0; k < size.inner; ++k) {
            expected[i * size.n + j] +=
                a[i * size.inner + k] * b[k * size.n + j];
          }
        }
      }
      ProductTask task;
      task.a = a.data();
      task.a_row = size.inner;
      task.b = b.data();
      task.b_row = size.n;
      task.rows = size.m;
      task.inner = size.inner;
      task.columns = size.n;
      task.out = out.data();
      task.out_row = size.n;
      level.kernels->add_product(task);
      EXPECT_EQ(out, expected);
    }
  }
}

TEST(DenseProductsTest, SelfProductIsThatOfTheTranspose) {
  for (const Sizes& size : kSizes) {
    const std::vector<double> x = Whole(size.m * size.n, 4);
    std::vector<double> transposed(x.size());
    for (int64_t i = 0; i < size.m; ++i) {
      for (int64_t j = 0; j < size.n; ++j) {
        transposed[j * size.m + i] = x[i * size.n + j];
      }
    }
    EXPECT_EQ(SelfProduct(x, size.m, size.n),
              Product(transposed, x, size.n, size.m, size.n));
  }
}

TEST(SinCosTest, EveryLevelIsWithinItsError) {
  std::mt19937_64 random(5);
  std::vector<double> angles = {0,      -0.0,       0.5 * M_PI, -M_PI,
                                1e-300, kSinCosMax, -kSinCosMax};
  for (const double most : {1.0, 50.0, kSinCosMax}) {
    std::uniform_real_distribution<double> uniform(-most, most);
    for (int i = 0; i < 10'000; ++i) angles.push_back(uniform(random));
  }
  for (const Level& level : Levels()) {
    if (level.kernels == nullptr) continue;
    std::vector<double> sines(angles.size()), cosines(angles.size());
    level.kernels->sin_cos(angles.data(), angles.size(), sines.data(),
                           cosines.data());
    for (size_t i = 0; i < angles.size(); ++i) {
      const long double angle = angles[i];
      EXPECT_NEAR(sines[i], static_cast<double>(std::sin(angle)), 0x1p-51)
          << level.name << " " << angles[i];
      EXPECT_NEAR(cosines[i], static_cast<double>(std::cos(angle)), 0x1p-51)
          << level.name << " " << angles[i];
    }
  }
}

TEST(SinCosTest, TakesAnglesOfAnySize) {
  const std::vector<double> angles = {3, 1e9};
  std::vector<double> sines(2), cosines(2);
  SinCos(angles, absl::MakeSpan(sines), absl::MakeSpan(cosines));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(sines[i], std::sin(angles[i]), 0x1p-51);
    EXPECT_NEAR(cosines[i], std::cos(angles[i]), 0x1p-51);
  }
}

}  // namespace
}  // namespace fedgraft
