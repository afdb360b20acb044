#include "common/solve/solve_point.h"

#include <cmath>
#include <limits>
#include <random>

#include "common/solve/head_solver.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

SolvePoint GradientPoint() {
  SolvePoint point;
  point.stage = SolveStage::kGradient;
  point.classes = 3;
  point.feature_dim = 2;
  point.mean = {0.5, -1};
  point.scale = {2, 0};
  point.weights = {1, 2, 3, 4, 5, 6};
  point.hessian_scale = 100;
  return point;
}

TEST(SolvePointTest, BytesRoundTrip) {
  const SolvePoint point = GradientPoint();
  const auto back = DecodeSolvePoint(EncodeSolvePoint(point));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->stage, point.stage);
  EXPECT_EQ(back->mean, point.mean);
  EXPECT_EQ(back->scale, point.scale);
  EXPECT_EQ(back->weights, point.weights);
  EXPECT_EQ(EncodeSolvePoint(*back), EncodeSolvePoint(point));
}

TEST(SolvePointTest, RefusesSizesThatDoNotFit) {
  const auto refused = [](void (*change)(SolvePoint&)) {
    SolvePoint point = GradientPoint();
    change(point);
    return absl::IsInvalidArgument(
        DecodeSolvePoint(EncodeSolvePoint(point)).status());
  };
  EXPECT_FALSE(refused([](SolvePoint&) {}));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.weights.pop_back(); }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.mean.pop_back(); }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.scale = {1, 1, 1}; }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.classes = 1; }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.classes = 1 << 30; }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.feature_dim = 1 << 30; }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.stage = SolveStage::kValidate; }));
  EXPECT_TRUE(refused([](SolvePoint& p) { p.hessian_scale = 0; }));
  EXPECT_TRUE(refused([](SolvePoint& p) {
    p.weights[0] = std::numeric_limits<double>::quiet_NaN();
  }));
}

TEST(SolvePointTest, MutatedBytesNeverCrash) {
  const Bytes good = EncodeSolvePoint(GradientPoint());
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    Bytes bad = good;
    for (int k = 0; k < 3; ++k) {
      bad[random() % bad.size()] = static_cast<uint8_t>(random());
    }
    bad.resize(random() % (bad.size() + 1));
    (void)DecodeSolvePoint(bad);
    (void)DecodeSolverState(bad);
  }
}

TEST(SolvePointTest, ContrastsAreOrthonormalAndBlindToAConstant) {
  for (int classes : {2, 3, 7}) {
    const std::vector<double> q = HelmertContrasts(classes);
    for (int a = 0; a + 1 < classes; ++a) {
      double sum = 0;
      for (int c = 0; c < classes; ++c) sum += q[a * classes + c];
      EXPECT_NEAR(sum, 0, 1e-15);
      for (int b = 0; b + 1 < classes; ++b) {
        double product = 0;
        for (int c = 0; c < classes; ++c) {
          product += q[a * classes + c] * q[b * classes + c];
        }
        EXPECT_NEAR(product, a == b ? 1 : 0, 1e-15);
      }
    }
  }
}

}  // namespace
}  // namespace fedgraft
