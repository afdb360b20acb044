#include "client/agent/audit_file.h"

#include <map>
#include <string>
#include <utility>

#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<std::unique_ptr<AuditFile>> AuditFile::Open(FileStore& files,
                                                           const Clock& clock) {
  FG_ASSIGN_OR_RETURN(auto log,
                      AuditLog::Open(files, "audit.log", clock.Wall()));
  return std::unique_ptr<AuditFile>(new AuditFile(std::move(log), clock));
}

absl::Status AuditFile::Record(const AuditEvent& event) {
  std::map<std::string, std::string> fields = {
      {"run", event.run.value}, {"round", std::to_string(event.round.value)}};
  if (event.bytes > 0) fields["bytes"] = std::to_string(event.bytes);
  if (event.digest != Digest{}) fields["sha256"] = event.digest.Hex();
  if (!event.detail.empty()) fields["detail"] = event.detail;
  return log_->Append(clock_.Wall(), event.event, fields);
}

}  // namespace fedgraft
