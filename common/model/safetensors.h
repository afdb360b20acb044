#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/model/parameter_layout.h"

// The safetensors format: u64 little-endian header size, JSON header, data.

namespace fedgraft {

enum class DType { kF32, kF16, kBF16, kI64 };

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  ByteSpan data;  // valid as long as the file object
};

// Read-only, bounds-checked. Thread-safe.
class SafetensorsFile {
 public:
  // Memory-maps a file on disk. NOT_FOUND; INVALID_ARGUMENT naming file and
  // defect (truncated, header not JSON, overlapping or out-of-range offsets,
  // size that does not fit shape and dtype, unknown dtype, header > 100 MiB).
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);
  // Reads from memory (takes it over). `name` is for messages.
  static absl::StatusOr<SafetensorsFile> Parse(Bytes content,
                                               std::string_view name);
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  const std::map<std::string, TensorView>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  // F32, F16 and BF16 widen to float; I64 is INVALID_ARGUMENT.
  absl::StatusOr<std::vector<float>> ReadFloats(std::string_view name) const;

 private:
  struct State;
  explicit SafetensorsFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// For writing: floats or int64 by name. Deterministic bytes: names sorted,
// header padded with spaces to 8 bytes.
struct TensorToWrite {
  DType dtype = DType::kF32;  // kF32 or kI64
  std::vector<int64_t> shape;
  ByteSpan data;
};
absl::StatusOr<Bytes> EncodeSafetensors(
    const std::map<std::string, TensorToWrite>& tensors,
    const std::map<std::string, std::string>& metadata);

// A trainable set as safetensors, and back. Decoding requires exactly the
// layout's names, F32, with its shapes, and finite values; otherwise
// INVALID_ARGUMENT listing missing, unexpected and misshapen tensors.
// It is TrainableSetHead, which depends on the layout only, and then the values
// as they are in memory.
Bytes TrainableSetHead(const ParameterLayout& layout,
                       absl::Span<const float> values);
Bytes EncodeTrainableSet(const ParameterLayout& layout,
                         const ParameterVector& values);
absl::StatusOr<ParameterVector> DecodeTrainableSet(
    const ParameterLayout& layout, ByteSpan content);

}  // namespace fedgraft
