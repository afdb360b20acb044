#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/model/parameter_layout.h"
#include "common/runtime/blob_store.h"
#include "common/runtime/file_store.h"

// Trainable sets in files (EncodeTrainableSet), written and read without a
// second copy of them in memory.

namespace fedgraft {

// INVALID_ARGUMENT: not of this layout, or a value that is not finite; else
// errors of the disk.
absl::StatusOr<ParameterVector> ReadTrainableSet(const ParameterLayout& layout,
                                                 const ReadableFile& file);

// The same values in slices, with second moments in the place of BatchNorm's
// variances (ToMoments). Thread-safe.
class TrainableSetReader {
 public:
  // FAILED_PRECONDITION: the tensors are not in the layout's order, so that
  // ReadTrainableSet has to read them; else errors of the disk. `room`: as many
  // values as the layout has, which do not matter.
  static absl::StatusOr<TrainableSetReader> Open(
      const ParameterLayout& layout, std::shared_ptr<const ReadableFile> file,
      absl::Span<const float> room);
  // Values [begin, begin + out.size()). DATA_LOSS: one is not finite.
  absl::Status Read(uint64_t begin, absl::Span<float> out) const;

 private:
  // One tensor of BatchNorm statistics.
  struct Moments {
    uint64_t begin = 0;
    std::vector<float> values;
  };
  TrainableSetReader(std::shared_ptr<const ReadableFile> file,
                     uint64_t head_bytes)
      : file_(std::move(file)), head_bytes_(head_bytes) {}
  absl::Status ReadMoments(const ParameterLayout& layout);
  absl::Status ReadPlain(uint64_t begin, absl::Span<float> out) const;

  std::shared_ptr<const ReadableFile> file_;
  uint64_t head_bytes_;
  std::vector<Moments> moments_;
};

struct KeptModel {
  Digest digest;
  uint64_t size_bytes = 0;
  Bytes inline_bytes;  // empty: durable in the blob store
};

// In `inline_bytes` up to this many bytes, else in `blobs`.
absl::StatusOr<KeptModel> KeepTrainableSet(const ParameterLayout& layout,
                                           absl::Span<const float> values,
                                           uint64_t inline_bytes_max,
                                           BlobStore& blobs);

}  // namespace fedgraft
