#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/data/image.h"
#include "common/config/plan.h"

namespace fedgraft {

// Image -> network input: contiguous float [3, size, size] (CHW). The same
// code serves training and prediction. Steps, in this order:
//
// 1. `invert`: v -> 1 - v.
// 2. `aspect`: `stretch` takes the whole image; `center_crop` cuts the central
//    square of the shorter side, the odd pixel going to the right and below;
//    `pad` resizes so that the longer side fits and centres the result on
//    zeros (black after inversion), the odd row or column going to the right
//    and below. The shorter side is round(size * short / long), at least 1.
// 3. Resize. Pixel centres are at half-integers: output pixel x samples input
//    coordinate (x + 0.5) * in / out - 0.5, clamped at the border; no
//    antialiasing. `nearest` takes floor((x + 0.5) * in / out); `bicubic` is
//    the kernel with a = -0.75; `area` averages the covered input area when it
//    shrinks both sides, and is bilinear otherwise. Results are clamped to
//    [0, 1], because bicubic overshoots.
// 4. Grey is repeated to three channels.
// 5. (v - mean) / std, by channel.
//
// Immutable and thread-safe.
class Preprocessor {
 public:
  // INVALID_ARGUMENT: size outside 1..8192; mean or std not of 0, 1 or 3
  // finite values (none: 0 and 1); std not positive.
  static absl::StatusOr<Preprocessor> Create(const PreprocessingSpec& spec);

  // For sources of feature vectors of this length: they pass as they are.
  // INVALID_ARGUMENT: feature_dim below 1.
  static absl::StatusOr<Preprocessor> ForFeatures(int feature_dim);

  // Floats per image: 3 * size * size, or feature_dim.
  size_t output_size() const;
  // [3, size, size], or [feature_dim].
  std::vector<int64_t> output_shape() const;
  int size() const { return spec_.size; }

  // Fills `out`. REQUIRES: out.size() == output_size(). INVALID_ARGUMENT: the
  // image is empty, or its dimensions and pixels disagree; a feature vector of
  // another length.
  absl::Status Apply(const Image& image, absl::Span<float> out) const;

 private:
  explicit Preprocessor(const PreprocessingSpec& spec);

  PreprocessingSpec spec_;
  int feature_dim_ = 0;  // 0: images
  std::array<float, 3> mean_{}, scale_{};
};

}  // namespace fedgraft
