#pragma once

#include "absl/status/statusor.h"
#include "aggregator/round/run_state.h"
#include "common/base/bytes.h"
#include "common/runtime/file_store.h"

// Looks into an aggregator's state folder without changing it; the daemon may
// be running.

namespace fedgraft {

// As the log tells it. DATA_LOSS as of Coordinator::Open.
absl::StatusOr<RunState> ReadJournal(FileStore& files);

// The bytes of a published model. NOT_FOUND if it is not kept any more,
// UNAVAILABLE if it was replaced meanwhile.
absl::StatusOr<Bytes> ReadModel(FileStore& files, const ModelRef& model);

}  // namespace fedgraft
