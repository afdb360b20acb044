#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

// A whole regular file of the site's data, anywhere on its disks (the FileStore
// port is for the state of the daemons). NOT_FOUND; INVALID_ARGUMENT: a folder
// or device; RESOURCE_EXHAUSTED: more than `size_max` bytes; UNAVAILABLE: a
// read failed. Messages do not name the file.
absl::StatusOr<Bytes> ReadDataFile(const std::string& path, uint64_t size_max);

}  // namespace fedgraft
