#pragma once

#include "absl/types/span.h"
#include "client/data/augment.h"

namespace fedgraft {

// What may differ between two views of one image that self-supervised
// pretraining takes for the same. The defaults keep what a reader of medical
// images needs: most of the image, its orientation, its grey scale. Colours and
// top and bottom are never changed.
struct RandomViewSpec {
  double crop_area_min = 0.6;  // of the image's area; 1: no crop
  double rotate_degrees = 10;
  bool horizontal_flip = false;  // off: left and right are not alike
  double brightness = 0.2;       // factor 1 +- this
  double contrast = 0.2;         // factor 1 +- this, about the mean
  double blur_sigma_max = 1;     // pixels; half of the views are not blurred
};

// One such change: geometry, then blur, then contrast, then brightness.
struct RandomView {
  View geometry;
  double blur_sigma = 0;  // 0: none
  double contrast = 1, brightness = 1;
};

// A crop has an area uniform in crop_area_min..1 of the image's and a ratio of
// its sides log-uniform in 1/1.1..1.1, lies inside the image, and is enlarged
// to the full size; the rest is uniform in its range. Depends on the arguments
// only.
RandomView DrawRandomView(const RandomViewSpec& spec, const ViewKey& key,
                          int size);

// Replaces an image `chw` ([channels, size, size], contiguous, values 0 to 1)
// by the view of it, with values 0 to 1. REQUIRES: chw.size() is a positive
// multiple of size * size. Thread-safe.
void ApplyRandomView(const RandomView& view, int size, absl::Span<float> chw);

}  // namespace fedgraft
