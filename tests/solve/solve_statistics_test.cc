#include "common/solve/solve_statistics.h"

#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

SolvePoint HessianPoint(int64_t dim) {
  SolvePoint point;
  point.stage = SolveStage::kHessian;
  point.classes = 2;
  point.feature_dim = dim;
  point.weights.assign(static_cast<size_t>(point.variables()), 0.0);
  point.hessian_scale = 50;
  return point;
}

// Halves of a word carry into each other when words are added; unpacking must
// undo that exactly.
TEST(SolveStatisticsTest, HessianPairsAddExactlyWhateverTheirSigns) {
  for (int64_t dim : {1, 2, 5}) {  // odd and even numbers of entries
    const SolvePoint point = HessianPoint(dim);
    const SolveLayout layout(point);
    std::mt19937 random(static_cast<unsigned>(dim));
    std::uniform_int_distribution<int> step(-40000, 40000);
    std::vector<uint64_t> total(layout.words());
    std::vector<double> expected(layout.count());
    for (int site = 0; site < 16; ++site) {
      std::vector<double> sums(layout.count());
      for (int64_t i = 0; i < layout.count(); ++i) {
        const bool is_hessian = i >= layout.hessian.begin;
        // On the grid, so that the sum is exact.
        sums[i] = is_hessian ? std::ldexp(step(random), -24) * 50
                             : std::ldexp(step(random), -38);
        expected[i] += sums[i];
      }
      const auto words = PackSolveSums(point, 16, sums);
      ASSERT_TRUE(words.ok()) << words.status();
      for (size_t i = 0; i < total.size(); ++i) total[i] += (*words)[i];
    }
    const std::vector<double> sums = UnpackSolveSums(point, total);
    for (int64_t i = 0; i < layout.count(); ++i) {
      EXPECT_NEAR(sums[i], expected[i], 1e-12 * std::abs(expected[i])) << i;
    }
  }
}

TEST(SolveStatisticsTest, ErrorsAreHalfAStepAtMost) {
  const SolvePoint point = HessianPoint(3);
  const SolveLayout layout(point);
  std::mt19937 random(3);
  std::normal_distribution<double> normal(0, 2);
  std::vector<double> sums(layout.count());
  for (double& v : sums) v = normal(random);
  const auto words = PackSolveSums(point, 16, sums);
  ASSERT_TRUE(words.ok());
  const std::vector<double> back = UnpackSolveSums(point, *words);
  for (int64_t i = 0; i < layout.count(); ++i) {
    const bool is_hessian = i >= layout.hessian.begin;
    EXPECT_LE(std::abs(back[i] - sums[i]),
              is_hessian ? 50 * std::ldexp(0.5, -24) * (1 + 1e-9)
                         : std::ldexp(0.5, -38) * (1 + 1e-9));
  }
}

TEST(SolveStatisticsTest, NothingSaturates) {
  const SolvePoint point = HessianPoint(2);
  const SolveLayout layout(point);
  std::vector<double> sums(layout.count(), 1.0);
  EXPECT_TRUE(PackSolveSums(point, 16, sums).ok());
  for (int64_t at : {layout.loss.begin, layout.hessian.begin + 1}) {
    for (double bad :
         {1e9, -1e9, std::nan(""), std::numeric_limits<double>::infinity()}) {
      std::vector<double> wrong = sums;
      wrong[at] = bad;
      const auto packed = PackSolveSums(point, 16, wrong);
      ASSERT_TRUE(absl::IsInvalidArgument(packed.status())) << at << bad;
      EXPECT_THAT(std::string(packed.status().message()),
                  HasSubstr("normalise the features"));
    }
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      PackSolveSums(point, 16, std::vector<double>(3)).status()));
}

// Sixteen sites at their limits still fit.
TEST(SolveStatisticsTest, SumsAtTheLimitDoNotWrap) {
  const SolvePoint point = HessianPoint(2);
  const SolveLayout layout(point);
  const double most = std::ldexp(1.0, 63 - 38) / 16 / 2;
  const double hessian_most = 50 * std::ldexp(1.0, 31 - 24) / 16 / 2;
  for (double sign : {1.0, -1.0}) {
    std::vector<double> sums(layout.count(), sign * most);
    std::fill(sums.begin() + layout.hessian.begin, sums.end(),
              sign * hessian_most);
    const auto words = PackSolveSums(point, 16, sums);
    ASSERT_TRUE(words.ok()) << words.status();
    std::vector<uint64_t> total(*words);
    for (uint64_t& word : total) word *= 16;
    const std::vector<double> back = UnpackSolveSums(point, total);
    for (int64_t i = 0; i < layout.count(); ++i) {
      EXPECT_EQ(back[i], 16 * sums[i]) << i;
    }
  }
}

TEST(SolveStatisticsTest, LayoutsHaveNoGapsAndNoOverlaps) {
  for (SolveStage stage :
       {SolveStage::kMoments, SolveStage::kGram, SolveStage::kCross,
        SolveStage::kGradient, SolveStage::kHessian, SolveStage::kValidate}) {
    const SolveLayout layout(stage, 4, 6, 3);
    int64_t at = 0;
    for (const SolveLayout::Part& part :
         {layout.records, layout.loss, layout.validation_records,
          layout.validation_losses, layout.gradient, layout.class_counts,
          layout.feature_sums, layout.feature_squares, layout.gram,
          layout.cross, layout.hessian}) {
      if (part.count == 0) continue;
      EXPECT_EQ(part.begin, at) << static_cast<int>(stage);
      at += part.count;
    }
    EXPECT_EQ(at, layout.count());
  }
}

}  // namespace
}  // namespace fedgraft
