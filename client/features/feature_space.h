#pragma once

#include <string>

#include "common/base/digest.h"
#include "common/config/plan.h"

namespace fedgraft {

// Everything that an activation depends on besides its image.
struct FeatureSpaceSpec {
  Digest backbone;
  std::string architecture;
  int stage = 0;  // the first that is not run
  PreprocessingSpec preprocessing;
  bool half = false;  // kept as F16
  // What rounds differently: device, narrow types, version of the library.
  std::string numerics;
};

// Names the space: images of two spaces never share an activation.
Digest FeatureSpace(const FeatureSpaceSpec& spec);

}  // namespace fedgraft
