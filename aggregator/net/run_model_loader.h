#pragma once

#include "aggregator/net/admin_service.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Verifies the backbone file against the plan's SHA-256, copies it into the
// blob store of `files` unless it is there, and derives layout and start from
// it. For architecture `identity` the path is empty, nothing is stored and the
// size 0. `files` outlives the loader.
RunModelLoader MakeRunModelLoader(FileStore& files);

// SHA-256 of a file. `path` is absolute; errors name it.
absl::StatusOr<Digest> DigestOfBackbone(const std::string& path);

}  // namespace fedgraft
