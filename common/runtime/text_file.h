#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"

// Files that a person names on a command line.

namespace fedgraft {

// Up to 16 MiB. NOT_FOUND or FAILED_PRECONDITION naming the path.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);
// Replaces the file at once or leaves the old one. Mode 0644.
absl::Status WriteTextFile(const std::string& path, std::string_view text);
// folder/name.
std::string JoinPath(std::string_view folder, std::string_view name);
// `path` made absolute against the working folder.
std::string AbsolutePath(const std::string& path);

}  // namespace fedgraft
