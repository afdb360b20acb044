#pragma once

#include <string>
#include <vector>

#include "common/shift/devices.h"

namespace fedgraft {

// Decoded pixels: float values in [0, 1], scaled by the bit depth of the file
// (v / 255 or v / 65535). Layout [height, width, channels] with channels
// interleaved; one channel (grey) or three in the order R, G, B.
struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<float> pixels;
  DeviceNames device = {};  // of a DICOM file
};

// What a source knows about an image without decoding it.
struct Sample {
  // Class 0..C-1; -1 if unknown, which only DataUse::kPredict allows.
  int label = -1;
  // Local key of the patient, empty if the source has none. Never logged.
  std::string patient;
  // For people and result tables: the path in the manifest, or the number of
  // the image inside its array. Local, like the patient key.
  std::string name;
};

}  // namespace fedgraft
