#include "client/data/acquisition.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr int kSideMin = 5;
constexpr double kNoiseMin = 1e-6, kSharpnessMin = 1e-12;

struct Plane {
  int height = 0, width = 0;
  std::vector<float> values;

  Plane(int height, int width)
      : height(height),
        width(width),
        values(static_cast<size_t>(height) * static_cast<size_t>(width)) {}
  const float* Row(int y) const {
    return values.data() + static_cast<size_t>(y) * width;
  }
  float* Row(int y) { return values.data() + static_cast<size_t>(y) * width; }
};

Plane Grey(const Image& image) {
  Plane grey(image.height, image.width);
  FG_CHECK(image.pixels.size() == grey.values.size() * image.channels);
  if (image.channels == 1) {
    grey.values = image.pixels;
    return grey;
  }
  const float* rgb = image.pixels.data();
  for (float& value : grey.values) {
    value = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
    rgb += 3;
  }
  return grey;
}

// Inner pixels, each the mean of its 3 x 3 neighbours with binomial weights.
Plane Smooth(const Plane& from) {
  Plane to(from.height - 2, from.width - 2);
  std::vector<float> column(from.width);
  for (int y = 0; y < to.height; ++y) {
    const float *above = from.Row(y), *at = from.Row(y + 1),
                *below = from.Row(y + 2);
    for (int x = 0; x < from.width; ++x) {
      column[x] = above[x] + 2 * at[x] + below[x];
    }
    float* out = to.Row(y);
    for (int x = 0; x < to.width; ++x) {
      out[x] = (column[x] + 2 * column[x + 1] + column[x + 2]) / 16;
    }
  }
  return to;
}

double NoiseDeviation(const Plane& grey) {
  std::vector<float> second(grey.width);
  double sum = 0;
  for (int y = 1; y + 1 < grey.height; ++y) {
    const float *above = grey.Row(y - 1), *at = grey.Row(y),
                *below = grey.Row(y + 1);
    for (int x = 0; x < grey.width; ++x) {
      second[x] = above[x] - 2 * at[x] + below[x];
    }
    for (int x = 1; x + 1 < grey.width; ++x) {
      sum += std::abs(second[x - 1] - 2 * second[x] + second[x + 1]);
    }
  }
  const double pixels = static_cast<double>(grey.height - 2) *
                        static_cast<double>(grey.width - 2);
  return std::sqrt(std::numbers::pi / 2) * sum / (6 * pixels);
}

double LaplacianVariance(const Plane& plane) {
  double sum = 0, squares = 0;
  for (int y = 1; y + 1 < plane.height; ++y) {
    const float *above = plane.Row(y - 1), *at = plane.Row(y),
                *below = plane.Row(y + 1);
    for (int x = 1; x + 1 < plane.width; ++x) {
      const double laplacian =
          above[x] + below[x] + at[x - 1] + at[x + 1] - 4 * at[x];
      sum += laplacian;
      squares += laplacian * laplacian;
    }
  }
  const double pixels = static_cast<double>(plane.height - 2) *
                        static_cast<double>(plane.width - 2);
  return squares / pixels - sum / pixels * (sum / pixels);
}

double LogAtLeast(double value, double least) {
  return std::log10(std::max(value, least));
}

}  // namespace

AcquisitionNumbers MeasureAcquisition(const Image& image) {
  const Plane grey = Grey(image);
  const auto n = static_cast<double>(grey.values.size());
  double sum = 0, squares = 0;
  for (const float value : grey.values) sum += value;
  const double mean = sum / n;
  for (const float value : grey.values) {
    squares += (value - mean) * (value - mean);
  }
  const bool is_large = std::min(grey.height, grey.width) >= kSideMin;
  AcquisitionNumbers numbers{};
  const auto set = [&numbers](Acquisition which, double value) {
    numbers[static_cast<size_t>(which)] = value;
  };
  set(Acquisition::kBrightness, mean);
  set(Acquisition::kContrast, std::sqrt(squares / n));
  set(Acquisition::kNoise,
      LogAtLeast(is_large ? NoiseDeviation(grey) : 0, kNoiseMin));
  set(Acquisition::kSharpness,
      LogAtLeast(is_large ? LaplacianVariance(Smooth(grey)) : 0,
                 kSharpnessMin));
  return numbers;
}

}  // namespace fedgraft
