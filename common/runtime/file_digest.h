#pragma once

#include "absl/status/statusor.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// SHA-256 of a whole file, read in pieces.
absl::StatusOr<Digest> DigestOfFile(const ReadableFile& file);

}  // namespace fedgraft
