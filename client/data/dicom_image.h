#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "client/data/image.h"
#include "common/base/bytes.h"

namespace fedgraft {

// Whether the file has DICOM's mark behind its preamble.
bool IsDicom(ByteSpan file);

// Decodes a DICOM file of one frame, grey or colour, by DCMTK: native, RLE,
// JPEG (lossless, too) and JPEG-LS. Grey values are those that a viewer shows
// first: after rescaling and the first window or VOI table of the file, or if
// it has none over all values that its bits can hold, and with MONOCHROME1
// turned round. Overlays are left out. The image's device is what the file
// tells of manufacturer and model, as it is written; nothing else of its text
// is read. The size is checked before any pixel is unpacked.
//
// INVALID_ARGUMENT: not DICOM, corrupt, cut short, no image or several, or a
// transfer syntax without decoder (JPEG 2000, video); RESOURCE_EXHAUSTED: more
// than `pixels_max` pixels. Messages quote nothing of the file. Thread-safe.
absl::StatusOr<Image> DecodeDicom(ByteSpan file, uint64_t pixels_max);

}  // namespace fedgraft
