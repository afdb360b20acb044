#include "common/shift/sketch_noise.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/privacy/discrete_gaussian.h"

namespace fedgraft {
namespace {

constexpr int kDeviationBits = 20;  // of the noise, in steps of its grid

}  // namespace

absl::Status AddSketchNoise(const SketchLayout& layout, double noise_multiplier,
                            RandomSource& random, absl::Span<uint64_t> words) {
  if (!(noise_multiplier > 0) || !std::isfinite(noise_multiplier) ||
      static_cast<int64_t>(words.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch noise: expected a multiplier above 0 and ", layout.count(),
        " words, not ", noise_multiplier, " and ", words.size()));
  }
  for (const SketchPart& part : layout.parts()) {
    if (part.kind == SketchPartKind::kSites) continue;
    const double scale = noise_multiplier * layout.ScaledSensitivity();
    const double deviation =
        std::ldexp(scale * part.record_norm, part.fraction_bits);
    const int shift = std::max(
        0, static_cast<int>(std::ceil(std::log2(deviation))) - kDeviationBits);
    // Each rounding, to the words' grid (counts are whole) and to the noise's,
    // moves a sum by up to half a step of its own on either side of a record.
    const double roundings =
        (part.fraction_bits > 0 ? std::ldexp(1.0, -shift) : 0) +
        (shift > 0 ? 1 : 0);
    const double steps =
        std::ldexp(deviation, -shift) +
        roundings * scale * std::sqrt(static_cast<double>(part.count));
    if (!(steps * steps <= static_cast<double>(DiscreteGaussian::kSigma2Max))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sketch noise: a multiplier of ", noise_multiplier, " is too large"));
    }
    DiscreteGaussian noise(static_cast<uint64_t>(std::ceil(steps * steps)),
                           random);
    const double step = std::ldexp(1.0, shift);
    for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
      const double value = static_cast<double>(static_cast<int64_t>(words[i]));
      const auto rounded = static_cast<int64_t>(std::nearbyint(value / step));
      words[i] = static_cast<uint64_t>(rounded + noise.Sample()) << shift;
    }
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
