#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/agent/audit_sink.h"
#include "common/audit/audit_log.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// The site's audit log on disk: audit.log in the state folder, hash-chained.
class AuditFile final : public AuditSink {
 public:
  // As AuditLog::Open. `files` and `clock` outlive it.
  static absl::StatusOr<std::unique_ptr<AuditFile>> Open(FileStore& files,
                                                         const Clock& clock);
  absl::Status Record(const AuditEvent& event) override;

 private:
  AuditFile(std::unique_ptr<AuditLog> log, const Clock& clock)
      : log_(std::move(log)), clock_(clock) {}
  std::unique_ptr<AuditLog> log_;
  const Clock& clock_;
};

}  // namespace fedgraft
