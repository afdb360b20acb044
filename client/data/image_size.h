#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {

// Of what a file's head says, before anything is unpacked. INVALID_ARGUMENT: no
// pixel; RESOURCE_EXHAUSTED: more than `pixels_max`.
inline absl::Status CheckImageSize(uint64_t width, uint64_t height,
                                   uint64_t pixels_max) {
  if (width == 0 || height == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at least one pixel, found ", width, " x ", height));
  }
  if (width > pixels_max || height > pixels_max / width) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "expected at most ", pixels_max,
        " pixels (image_megapixels_max), found ", width, " x ", height));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
