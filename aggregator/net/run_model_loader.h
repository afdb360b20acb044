#pragma once

#include "aggregator/net/admin_service.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Verifies the backbone file against the plan's SHA-256, copies it into the
// blob store of `files` unless it is there, and derives layout and start from
// it. `files` outlives the loader.
RunModelLoader MakeRunModelLoader(FileStore& files);

}  // namespace fedgraft
