#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/store/log_format.h"
#include "common/base/bytes.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Where a replayed log goes on.
struct LogEnd {
  uint64_t segment = 1;      // number of the newest segment
  uint64_t valid_bytes = 0;  // of it; 0: it is missing or has no header yet
  uint32_t salt = 0;         // of it, if valid_bytes > 0
  uint64_t next_sequence = 1;
  uint64_t torn_bytes = 0;  // behind valid_bytes
};

// Reads all segments of `folder` in order and calls `replay` for each record.
// Changes nothing on disk. A torn tail (the last batch was being written, or
// the newest segment was being made) is no error. DATA_LOSS and UNIMPLEMENTED
// as of Log::Open.
absl::StatusOr<LogEnd> ReadLog(
    FileStore& files, const std::string& folder,
    const std::function<absl::Status(uint64_t sequence, ByteSpan record)>&
        replay);

}  // namespace fedgraft
