#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "client/data/image.h"
#include "common/base/bytes.h"

namespace fedgraft {

// Decodes a DICOM file as DecodeDicom (dicom_image.h) does, or a PNG, JPEG or
// TIFF file of 8 or 16 bits (1, 2 and 4 bits are widened), grey or colour.
// Alpha is dropped, palettes are resolved, an EXIF orientation is ignored; a
// TIFF in which 0 is white is turned round. The size is checked before any
// pixel is unpacked.
//
// INVALID_ARGUMENT: not such a file, corrupt, or of 0 pixels; DATA_LOSS: cut
// short; RESOURCE_EXHAUSTED: more than `pixels_max` pixels. Thread-safe.
//
// JPEG data carry no checksum: damage inside a scan that leaves its structure
// intact is not found.
absl::StatusOr<Image> DecodeImage(ByteSpan file, uint64_t pixels_max);

}  // namespace fedgraft
