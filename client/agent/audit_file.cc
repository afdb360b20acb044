#include "client/agent/audit_file.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<std::unique_ptr<AuditFile>> AuditFile::Open(FileStore& files,
                                                           const Clock& clock) {
  std::unique_ptr<AuditFile> audit(new AuditFile(files, clock));
  FG_RETURN_IF_ERROR(audit->Reopen());
  return audit;
}

absl::Status AuditFile::Reopen() {
  FG_ASSIGN_OR_RETURN(log_, AuditLog::Open(files_, kAuditPath, clock_.Wall()));
  return absl::OkStatus();
}

absl::Status AuditFile::Record(const AuditEvent& event) {
  if (log_ == nullptr) FG_RETURN_IF_ERROR(Reopen());
  std::map<std::string, std::string> fields = {{"run", event.run.value}};
  if (event.round.value > 0) {
    fields["round"] = absl::StrCat(event.round.value);
  }
  if (event.bytes > 0) fields["bytes"] = absl::StrCat(event.bytes);
  if (event.digest != Digest()) fields["sha256"] = event.digest.Hex();
  if (!event.detail.empty()) fields["detail"] = event.detail;
  const absl::Status appended =
      log_->Append(clock_.Wall(), event.event, fields);
  if (!appended.ok()) {
    log_.reset();
    return Annotate(appended, kAuditPath);
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
