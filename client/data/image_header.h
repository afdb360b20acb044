#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

enum class ImageFormat { kPng, kJpeg, kTiff };

// What the head of an image file says, read without unpacking pixels.
struct ImageHeader {
  ImageFormat format = ImageFormat::kPng;
  uint64_t width = 0, height = 0;
  // Grey TIFF in which 0 is white.
  bool white_is_zero = false;
};

// Reads the head of a PNG, JPEG or TIFF file (of a TIFF with several pages the
// first) and checks that the file reaches its end mark, which decoders do not
// all do. INVALID_ARGUMENT: another format, a broken structure or a number of
// bits per value other than 1, 8 or 16 (PNG also 2 and 4); DATA_LOSS: the file
// is cut short.
absl::StatusOr<ImageHeader> ReadImageHeader(ByteSpan file);

std::string ImageFormatName(ImageFormat format);

}  // namespace fedgraft
