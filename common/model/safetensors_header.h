#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/model/safetensors.h"

namespace fedgraft {

// What a safetensors file says about itself; the views point into its bytes.
struct SafetensorsHeader {
  std::map<std::string, TensorView> tensors;
  std::map<std::string, std::string> metadata;
};

// Parses and checks header and offsets of a whole file. Reads hostile input:
// the JSON is streamed through a strict state machine, so that neither nesting
// nor repetition costs memory, and every number is checked before use.
// INVALID_ARGUMENT naming `file` and the defect.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    ByteSpan content, absl::string_view file);

// Bytes per element, and the format's word for the type.
size_t DTypeSize(DType dtype);
const char* DTypeName(DType dtype);

}  // namespace fedgraft
