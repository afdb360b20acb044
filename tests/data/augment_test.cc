#include "client/data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;

// Two channels of 3 x 3.
std::vector<float> Input() {
  return {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 60, 70, 80, 90};
}

std::vector<float> Apply(const View& view) {
  std::vector<float> values = Input();
  ApplyView(view, 3, absl::MakeSpan(values));
  for (float& value : values) value = std::round(value * 1000) / 1000;
  return values;
}

TEST(AugmentTest, NothingDrawnLeavesTheImage) {
  EXPECT_EQ(Apply(View{}), Input());
}

TEST(AugmentTest, MirrorSwapsLeftAndRight) {
  EXPECT_THAT(Apply({.mirrored = true}),
              ElementsAre(3, 2, 1, 6, 5, 4, 9, 8, 7, 30, 20, 10, 60, 50, 40, 90,
                          80, 70));
}

TEST(AugmentTest, QuarterTurnIsClockwise) {
  EXPECT_THAT(Apply({.radians = std::numbers::pi / 2}),
              ElementsAre(7, 4, 1, 8, 5, 2, 9, 6, 3, 70, 40, 10, 80, 50, 20, 90,
                          60, 30));
}

TEST(AugmentTest, MirrorComesBeforeTheTurn) {
  EXPECT_THAT(Apply({.mirrored = true, .radians = std::numbers::pi / 2}),
              ElementsAre(9, 6, 3, 8, 5, 2, 7, 4, 1, 90, 60, 30, 80, 50, 20, 70,
                          40, 10));
}

TEST(AugmentTest, ShiftsRepeatTheBorder) {
  EXPECT_THAT(Apply({.shift_x = 1}),
              ElementsAre(1, 1, 2, 4, 4, 5, 7, 7, 8, 10, 10, 20, 40, 40, 50, 70,
                          70, 80));
  EXPECT_THAT(Apply({.shift_y = -0.5}),
              ElementsAre(2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 7, 8, 9, 25, 35, 45, 55,
                          65, 75, 70, 80, 90));
  EXPECT_THAT(Apply({.shift_x = 1000}),
              ElementsAre(1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10, 10, 40, 40, 40, 70,
                          70, 70));
}

TEST(AugmentTest, ViewsAreInRangeAndDependOnTheKeyOnly) {
  const AugmentationSpec spec{true, 30, 0.1};
  int mirrored = 0;
  double angle_max = 0, shift_max = 0;
  for (uint64_t image = 0; image < 4000; ++image) {
    const View view = DrawView(spec, {1, 2, image}, 50);
    const View again = DrawView(spec, {1, 2, image}, 50);
    EXPECT_EQ(view.radians, again.radians);
    EXPECT_EQ(view.shift_x, again.shift_x);
    mirrored += view.mirrored ? 1 : 0;
    angle_max = std::max(angle_max, std::abs(view.radians));
    shift_max =
        std::max({shift_max, std::abs(view.shift_x), std::abs(view.shift_y)});
  }
  EXPECT_NEAR(mirrored, 2000, 160);  // 5 standard errors
  EXPECT_LE(angle_max, std::numbers::pi / 6);
  EXPECT_GT(angle_max, 0.99 * std::numbers::pi / 6);
  EXPECT_LE(shift_max, 5);
  EXPECT_GT(shift_max, 4.9);
  EXPECT_NE(DrawView(spec, {1, 2, 3}, 50).radians,
            DrawView(spec, {1, 3, 3}, 50).radians);
  EXPECT_NE(DrawView(spec, {1, 2, 3}, 50).radians,
            DrawView(spec, {2, 2, 3}, 50).radians);
}

TEST(AugmentTest, SwitchingOneKindOffLeavesTheOthers) {
  const View all = DrawView({true, 30, 0.1}, {1, 2, 3}, 50);
  const View turn = DrawView({false, 30, 0}, {1, 2, 3}, 50);
  EXPECT_EQ(turn.radians, all.radians);
  EXPECT_FALSE(turn.mirrored);
  EXPECT_EQ(turn.shift_x, 0);
}

TEST(AugmentTest, WithoutAnyKindTheInputIsUntouched) {
  std::vector<float> values = Input();
  Augment({}, {1, 2, 3}, 3, absl::MakeSpan(values));
  EXPECT_EQ(values, Input());
}

}  // namespace
}  // namespace fedgraft
