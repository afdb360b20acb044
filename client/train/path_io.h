#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"

// Whole files by path, for those that a request or a command line names.

namespace fedgraft {

// NOT_FOUND and others, naming the path.
absl::StatusOr<Bytes> ReadFile(const std::string& path);
// Atomic: afterwards either the old or the new content is there.
absl::Status WriteFile(const std::string& path, ByteSpan content);

}  // namespace fedgraft
