#pragma once

#include "absl/status/statusor.h"
#include "aggregator/round/records.h"
#include "common/base/bytes.h"

// JournalEntry <-> proto/journal.proto. The only place of aggregator/round
// that sees generated messages.

namespace fedgraft {

Bytes EncodeEntry(const JournalEntry& entry);
// DATA_LOSS naming the record and field that cannot be: what we wrote
// ourselves and the log's checksum let through must decode.
absl::StatusOr<JournalEntry> DecodeEntry(ByteSpan bytes);

}  // namespace fedgraft
