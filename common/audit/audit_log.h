#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// What an audit log ends in: to be noted elsewhere, for a log cut at its end
// shows only against a head that somebody remembers.
struct AuditHead {
  uint64_t lines = 0;
  Digest hash;  // of the last line; zero if there is none
  bool operator==(const AuditHead&) const = default;
};

// An append-only log for people and auditors: one JSON object a line,
//   {"index":1,"time":"…Z","event":"…", fields …,"previous":"<hex>"}
// where `previous` is the SHA-256 of the line before (zeros in the first), so
// that an edited, removed, inserted or moved line breaks the chain.
//
// Each line is durable when Append returns. A tail that is no whole line is
// what a power failure left of a write that was never acknowledged: Open
// removes it and says so in a line of its own ("torn_tail_removed", with the
// size and SHA-256 of what was removed). Not thread-safe. `files` outlives it.
class AuditLog {
 public:
  // DATA_LOSS naming the first line that breaks the chain: the log is then
  // evidence and nothing is added to it.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(FileStore& files,
                                                        std::string path,
                                                        absl::Time now);

  // Field names are not "index", "time", "event" or "previous". After an error
  // the log takes no further line until it is opened again.
  absl::Status Append(absl::Time time, std::string_view event,
                      const std::map<std::string, std::string>& fields);

  const AuditHead& head() const { return head_; }

 private:
  AuditLog(std::unique_ptr<WritableFile> file, AuditHead head)
      : file_(std::move(file)), head_(head) {}

  std::unique_ptr<WritableFile> file_;
  AuditHead head_;
  absl::Status failure_;
};

// Checks the chain of a whole log's text. DATA_LOSS naming the first bad line
// and what is wrong with it.
absl::StatusOr<AuditHead> VerifyAuditLog(std::string_view text);

}  // namespace fedgraft
