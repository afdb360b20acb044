#include "client/data/random_view.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::FloatNear;
using ::testing::Pointwise;

std::vector<float> Apply(const RandomView& view, int size,
                         std::vector<float> values) {
  ApplyRandomView(view, size, absl::MakeSpan(values));
  return values;
}

// A ramp from left to right, and one from top to bottom, of `size` pixels.
std::vector<float> Ramps(int size) {
  std::vector<float> values;
  for (int i = 0; i < size * size; ++i) {
    values.push_back(static_cast<float>(i % size) / size);
  }
  for (int i = 0; i < size * size; ++i) {
    values.push_back(static_cast<float>(i / size) / size);
  }
  return values;
}

TEST(RandomViewTest, NothingDrawnLeavesTheImage) {
  EXPECT_THAT(Apply({}, 8, Ramps(8)), Pointwise(FloatNear(1e-6), Ramps(8)));
}

TEST(RandomViewTest, SpecWithoutChangesDrawsNone) {
  const RandomViewSpec none{1, 0, false, 0, 0, 0};
  for (uint64_t image = 0; image < 20; ++image) {
    EXPECT_THAT(Apply(DrawRandomView(none, {1, 0, image}, 8), 8, Ramps(8)),
                Pointwise(FloatNear(1e-6), Ramps(8)));
  }
}

// numpy: exp(-i^2 / (2 sigma^2)) for |i| <= 3, normalised, convolved with
// [0, 0, 1, 0, 0, 0] whose ends repeat; in both directions.
TEST(RandomViewTest, BlursByAGaussian) {
  constexpr double kLine[] = {2.19103142e-02, 2.28310716e-01, 4.98676452e-01,
                              2.28310716e-01, 2.19103142e-02, 4.40743367e-04};
  std::vector<float> values(36, 0);
  values[2 * 6 + 2] = 1;
  const std::vector<float> blurred =
      Apply({.geometry = {}, .blur_sigma = 0.8}, 6, values);
  for (int y = 0; y < 6; ++y) {
    for (int x = 0; x < 6; ++x) {
      EXPECT_NEAR(blurred[y * 6 + x], kLine[y] * kLine[x], 1e-6)
          << y << ", " << x;
    }
  }
}

TEST(RandomViewTest, ContrastKeepsTheMeanAndBrightnessScalesIt) {
  const std::vector<float> values = {0.2f, 0.4f, 0.6f, 0.8f};
  EXPECT_THAT(Apply({.geometry = {}, .contrast = 0.5}, 2, values),
              Pointwise(FloatNear(1e-6),
                        std::vector<float>{0.35f, 0.45f, 0.55f, 0.65f}));
  EXPECT_THAT(
      Apply({.geometry = {}, .contrast = 2, .brightness = 0.5}, 2, values),
      Pointwise(FloatNear(1e-6), std::vector<float>{0, 0.15f, 0.35f, 0.55f}));
}

// The ramps tell where in the image each output pixel was taken.
TEST(RandomViewTest, CropsLieInsideAndHaveTheAreaAskedFor) {
  constexpr int kSize = 40;
  const RandomViewSpec spec{0.5, 0, false, 0, 0, 0};
  double area_min = 1, area_max = 0;
  for (uint64_t image = 0; image < 500; ++image) {
    const View view = DrawRandomView(spec, {3, 0, image}, kSize).geometry;
    const double width = kSize / view.zoom_x, height = kSize / view.zoom_y;
    const double left = kSize / 2.0 - view.shift_x / view.zoom_x - width / 2;
    const double top = kSize / 2.0 - view.shift_y / view.zoom_y - height / 2;
    EXPECT_GE(left, -1e-9);
    EXPECT_GE(top, -1e-9);
    EXPECT_LE(left + width, kSize + 1e-9);
    EXPECT_LE(top + height, kSize + 1e-9);
    EXPECT_LE(std::max(width / height, height / width), 1.1 + 1e-9);
    area_min = std::min(area_min, width * height / (kSize * kSize));
    area_max = std::max(area_max, width * height / (kSize * kSize));
    if (image > 20) continue;
    const std::vector<float> out =
        Apply({.geometry = view}, kSize, Ramps(kSize));
    // Output pixel 20 is half a pixel right of the centre of the window.
    const double x = left + 20.5 * width / kSize - 0.5;
    const double y = top + 10.5 * height / kSize - 0.5;
    EXPECT_NEAR(out[10 * kSize + 20] * kSize, x, 1e-3);
    EXPECT_NEAR(out[kSize * kSize + 10 * kSize + 20] * kSize, y, 1e-3);
  }
  EXPECT_GE(area_min, 0.5 - 1e-9);
  EXPECT_LT(area_min, 0.52);
  EXPECT_GT(area_max, 0.97);
}

TEST(RandomViewTest, DependsOnTheKeyOnlyAndStaysInRange) {
  const RandomViewSpec spec{0.6, 15, true, 0.3, 0.4, 1.5};
  int mirrored = 0, blurred = 0;
  for (uint64_t image = 0; image < 2000; ++image) {
    const RandomView view = DrawRandomView(spec, {1, 2, image}, 32);
    const RandomView again = DrawRandomView(spec, {1, 2, image}, 32);
    const RandomView other = DrawRandomView(spec, {1, 3, image}, 32);
    EXPECT_EQ(view.brightness, again.brightness);
    EXPECT_EQ(view.geometry.shift_x, again.geometry.shift_x);
    EXPECT_NE(view.brightness, other.brightness);
    EXPECT_LE(std::abs(view.geometry.radians), std::numbers::pi / 12);
    EXPECT_LE(std::abs(view.brightness - 1), 0.3);
    EXPECT_LE(std::abs(view.contrast - 1), 0.4);
    EXPECT_LE(view.blur_sigma, 1.5);
    mirrored += view.geometry.mirrored ? 1 : 0;
    blurred += view.blur_sigma > 0 ? 1 : 0;
  }
  EXPECT_NEAR(mirrored, 1000, 112);  // 5 standard errors
  EXPECT_NEAR(blurred, 1000, 112);
}

TEST(RandomViewTest, LeftAndRightStayUnlessAskedFor) {
  for (uint64_t image = 0; image < 100; ++image) {
    EXPECT_FALSE(DrawRandomView({}, {1, 0, image}, 32).geometry.mirrored);
  }
}

}  // namespace
}  // namespace fedgraft
