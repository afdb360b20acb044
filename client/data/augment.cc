#include "client/data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "client/data/seeded_random.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

// Where one output pixel takes its value: four neighbours and two weights.
struct Tap {
  int top_left, top_right, bottom_left, bottom_right;  // offsets in a plane
  float right, bottom;                                 // weights
};

Tap MakeTap(double x, double y, int size) {
  const double last = size - 1;
  x = std::clamp(x, 0.0, last);
  y = std::clamp(y, 0.0, last);
  const int left = static_cast<int>(x), top = static_cast<int>(y);
  const int right = std::min(left + 1, size - 1);
  const int bottom = std::min(top + 1, size - 1);
  return {top * size + left,
          top * size + right,
          bottom * size + left,
          bottom * size + right,
          static_cast<float>(x - left),
          static_cast<float>(y - top)};
}

}  // namespace

View DrawView(const AugmentationSpec& spec, const ViewKey& key, int size) {
  SeededRandom random({key.seed, key.epoch, key.image});
  View view;
  // Every number is drawn whatever the plan says, so that switching one kind
  // of change off leaves the others as they were.
  const bool mirrored = random.Uniform() < 0.5;
  const double turn = random.Uniform(-1, 1);
  const double right = random.Uniform(-1, 1), down = random.Uniform(-1, 1);
  view.mirrored = spec.horizontal_flip && mirrored;
  view.radians = turn * spec.rotate_degrees * std::numbers::pi / 180;
  view.shift_x = right * spec.translate * size;
  view.shift_y = down * spec.translate * size;
  return view;
}

void ApplyView(const View& view, int size, absl::Span<float> chw) {
  FG_CHECK(size > 0);
  const size_t plane = static_cast<size_t>(size) * size;
  FG_CHECK(!chw.empty() && chw.size() % plane == 0);
  const double centre = (size - 1) / 2.0;
  const double cosine = std::cos(view.radians), sine = std::sin(view.radians);
  std::vector<Tap> taps(plane);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      // Backwards: undo the shift, the zoom, the turn, then the mirror.
      const double dx = (x - centre - view.shift_x) / view.zoom_x;
      const double dy = (y - centre - view.shift_y) / view.zoom_y;
      double from_x = centre + cosine * dx + sine * dy;
      const double from_y = centre - sine * dx + cosine * dy;
      if (view.mirrored) from_x = size - 1 - from_x;
      taps[static_cast<size_t>(y) * size + x] = MakeTap(from_x, from_y, size);
    }
  }
  std::vector<float> source(plane);
  for (size_t start = 0; start < chw.size(); start += plane) {
    float* out = chw.data() + start;
    std::copy_n(out, plane, source.begin());
    for (size_t i = 0; i < plane; ++i) {
      const Tap& tap = taps[i];
      const float top =
          source[tap.top_left] +
          tap.right * (source[tap.top_right] - source[tap.top_left]);
      const float bottom =
          source[tap.bottom_left] +
          tap.right * (source[tap.bottom_right] - source[tap.bottom_left]);
      out[i] = top + tap.bottom * (bottom - top);
    }
  }
}

}  // namespace fedgraft
