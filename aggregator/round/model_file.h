#pragma once

#include <cstdint>

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
