#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/audit_sink.h"
#include "common/audit/audit_log.h"
#include "common/runtime/clock.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

inline constexpr char kAuditPath[] = "audit.log";

// The audit log of production: hash-chained (common/audit), each event durable
// when Record returns. After a failed write (disk full) the next Record opens
// the log anew. Lives on the strand; `files` and `clock` outlive it.
class AuditFile : public AuditSink {
 public:
  // DATA_LOSS: the chain is broken; the log is then evidence, and the site
  // sends nothing until somebody moved it away.
  static absl::StatusOr<std::unique_ptr<AuditFile>> Open(FileStore& files,
                                                         const Clock& clock);
  absl::Status Record(const AuditEvent& event) override;

 private:
  AuditFile(FileStore& files, const Clock& clock)
      : files_(files), clock_(clock) {}
  absl::Status Reopen();

  FileStore& files_;
  const Clock& clock_;
  std::unique_ptr<AuditLog> log_;  // null after a failure
};

}  // namespace fedgraft
