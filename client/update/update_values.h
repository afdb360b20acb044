#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/model/parameter_layout.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The values of an update in layout order, read in slices as often as wanted:
// in memory, or in the trainer's file (raw little-endian F32), of which then
// no more than a slice is in memory. Thread-safe.
class UpdateValues {
 public:
  explicit UpdateValues(ParameterVector values);
  // REQUIRES: the file has count * sizeof(float) bytes. It may have lost its
  // name by now.
  UpdateValues(std::shared_ptr<const ReadableFile> file, uint64_t count)
      : file_(std::move(file)), count_(count) {}

  uint64_t count() const { return count_; }
  // Values [begin, begin + out.size()). REQUIRES: they exist. Errors: those of
  // the file.
  absl::Status Read(uint64_t begin, absl::Span<float> out) const;

 private:
  std::shared_ptr<const ParameterVector> values_;  // null: in the file
  std::shared_ptr<const ReadableFile> file_;
  uint64_t count_;
};

// Values per slice of a pass over all: they stay in the cache.
inline constexpr uint64_t kPassValues = uint64_t{1} << 15;

}  // namespace fedgraft
