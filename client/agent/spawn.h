#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace fedgraft {

struct SpawnedChild {
  pid_t pid;
  int socket;  // this side's end of the pair; close it
};

// fork and exec with `fd 3` as the child's end of a socket pair; see
// ChildProcess for what the child inherits. Errors of exec come back with the
// code of their errno and name the binary.
absl::StatusOr<SpawnedChild> SpawnWithSocket(
    const std::string& binary, const std::vector<std::string>& arguments,
    uint64_t memory_bytes_max);

}  // namespace fedgraft
