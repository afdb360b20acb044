#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "common/config/plan.h"

namespace fedgraft {

// Names one random view of one training image.
struct ViewKey {
  uint64_t seed = 0;   // of the plan and the site
  uint64_t epoch = 0;  // counted over the whole run
  uint64_t image = 0;  // index in the training split
};

// A geometric change of an image: first mirrored left-right, then turned
// clockwise (as seen, with y downwards) about the centre, then enlarged about
// the centre, then moved.
struct View {
  bool mirrored = false;
  double radians = 0;
  double zoom_x = 1, zoom_y = 1;    // positive
  double shift_x = 0, shift_y = 0;  // pixels, to the right and down
};

// Mirrored with probability 1/2 if the plan says so, an angle uniform in
// +-rotate_degrees, shifts uniform in +-translate * size. Depends on its
// arguments only.
View DrawView(const AugmentationSpec& spec, const ViewKey& key, int size);

// Replaces a network input `chw` ([channels, size, size], contiguous) by the
// view of it: bilinear, border pixels repeated. REQUIRES: chw.size() is a
// positive multiple of size * size. Thread-safe.
void ApplyView(const View& view, int size, absl::Span<float> chw);

// Both: the random view `key` of a network input.
inline void Augment(const AugmentationSpec& spec, const ViewKey& key, int size,
                    absl::Span<float> chw) {
  if (spec.any()) ApplyView(DrawView(spec, key, size), size, chw);
}

}  // namespace fedgraft
