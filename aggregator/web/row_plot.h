#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// Small charts, one per table row, that share one horizontal axis: forest
// plots, ranges, shares. They stretch with their column, undistorted, because
// every position is a percentage.

namespace fedgraft {

// From numbers to positions. Ends are rounded outwards to whole ticks.
class RowScale {
 public:
  // Covers `values` (those that are numbers) and, if they lie within it,
  // does not leave [least, most].
  RowScale(const std::vector<double>& values, double least, double most);

  // 0 … 100, cut to the axis.
  double Percent(double value) const;
  // Whether it lies on the axis.
  bool Covers(double value) const { return value >= low_ && value <= high_; }
  const std::vector<double>& ticks() const { return ticks_; }
  int digits() const { return digits_; }

 private:
  double low_ = 0, high_ = 1;
  std::vector<double> ticks_;
  int digits_ = 1;
};

enum class MarkShape { kDot, kRing, kDiamond, kBar };

// What one row shows. `role` is a class of the style sheet: fed, loc, good,
// warn, bad.
struct RowMark {
  MarkShape shape = MarkShape::kDot;
  double value = 0;
  absl::string_view role = "fed";
};
struct RowRange {
  double low = 0, high = 0;
  absl::string_view role = "fed";
};
struct Row {
  std::string title;  // what it shows, in words, for screen readers
  std::vector<RowRange> ranges;
  std::vector<RowMark> marks;
};
// `reference`: a dashed line, if it lies on the axis.
std::string RowPlot(const RowScale& scale, const Row& row, double reference);
// The axis with its numbers, for the column's head.
std::string RowAxis(const RowScale& scale, absl::string_view label);

// A bar of `share` in [0, 1] of its column; `text` says it in words.
std::string ShareBar(double share, absl::string_view role,
                     absl::string_view text);

// Steps of 1, 2 or 5 times a power of ten, at most `count` of them between the
// two numbers, these included.
std::vector<double> NiceTicks(double low, double high, int count);
// Digits after the point that tell neighbouring ticks apart.
int TickDigits(const std::vector<double>& ticks);

}  // namespace fedgraft
