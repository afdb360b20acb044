#include "client/train/jittered_source.h"

#include <algorithm>
#include <cmath>

#include "client/data/seeded_random.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Keeps this stream of random numbers apart from others of the same seed.
constexpr uint64_t kJitterStream = 0x6a6974746572;  // "jitter"

// Mixes each pixel with the mean of its 3 x 3 neighbourhood (borders repeat).
void Blur(Image& image, double amount) {
  const std::vector<float> in = image.pixels;
  const auto at = [&](int y, int x, int c) {
    y = std::clamp(y, 0, image.height - 1);
    x = std::clamp(x, 0, image.width - 1);
    return in[(static_cast<size_t>(y) * image.width + x) * image.channels + c];
  };
  float* out = image.pixels.data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < image.channels; ++c, ++out) {
        double sum = 0;
        for (int dy = -1; dy <= 1; ++dy) {
          for (int dx = -1; dx <= 1; ++dx) sum += at(y + dy, x + dx, c);
        }
        *out = static_cast<float>((1 - amount) * *out + amount * sum / 9);
      }
    }
  }
}

}  // namespace

absl::StatusOr<Image> JitteredSource::Load(Split split, size_t index) const {
  FG_ASSIGN_OR_RETURN(Image image, source_.Load(split, index));
  if (split != Split::kTrain || strength_ == 0) return image;
  SeededRandom random({seed_, kJitterStream, index});
  Blur(image, random.Uniform(0, strength_));
  const double gamma = std::exp(random.Uniform(-strength_, strength_));
  const double gain = 1 + random.Uniform(-strength_, strength_) / 2;
  for (float& value : image.pixels) {
    value = static_cast<float>(
        std::min(1.0, gain * std::pow(std::max(value, 0.0f), gamma)));
  }
  return image;
}

}  // namespace fedgraft
