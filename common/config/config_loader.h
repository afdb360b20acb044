#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/config.pb.h"

// The daemons' YAML files, checked, with every default filled in and every
// path absolute. INVALID_ARGUMENT lists all defects, one a line, as
//   file:line: key.path: what was found; what is allowed
// NOT_FOUND if there is no such file.

namespace fedgraft {

absl::StatusOr<pb::AggregatorConfig> LoadAggregatorConfig(
    const std::string& path);
absl::StatusOr<pb::ClientConfig> LoadClientConfig(const std::string& path);
// A file that holds only what stands under `data` in a client's config.
absl::StatusOr<pb::DataConfig> LoadDataConfig(const std::string& path);

}  // namespace fedgraft
