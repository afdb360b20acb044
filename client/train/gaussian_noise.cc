#include "client/train/gaussian_noise.h"

#include <cmath>
#include <numbers>

namespace fedgraft {

GaussianNoise::~GaussianNoise() {
  volatile uint64_t* words = words_;
  for (size_t i = 0; i < kWords; ++i) words[i] = 0;
}

double GaussianNoise::Uniform() {
  if (used_ == kWords) {
    random_.Fill(
        absl::MakeSpan(reinterpret_cast<uint8_t*>(words_), sizeof(words_)));
    used_ = 0;
  }
  return static_cast<double>(words_[used_++] >> 11) * 0x1p-53;
}

double GaussianNoise::Next() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - Uniform()));
  const double angle = 2 * std::numbers::pi * Uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

void GaussianNoise::AddTo(absl::Span<float> values, double sigma) {
  for (float& value : values) {
    value = static_cast<float>(value + sigma * Next());
  }
}

}  // namespace fedgraft
