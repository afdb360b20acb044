#include "aggregator/round/journal.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/journal_codec.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(CoordinatorPorts ports,
                                                       RunState& state) {
  std::unique_ptr<Journal> journal(new Journal(ports.clock, state));
  FG_ASSIGN_OR_RETURN(
      journal->log_,
      Log::Open({ports.files, ports.strand, ports.executor, ports.random}, {},
                [&state](uint64_t sequence, ByteSpan record) -> absl::Status {
                  FG_ASSIGN_OR_RETURN(JournalEntry entry, DecodeEntry(record));
                  return state.Apply(std::move(entry), sequence);
                }));
  return journal;
}

absl::Status Journal::Failed(const absl::Status& status) {
  if (failure_.ok()) {
    failure_ = RefusalError(
        RefusalReason::kStorage,
        absl::StrCat("the log cannot be written: ", status.message()));
    FG_LOG_ERROR("{}; nothing is acknowledged until a restart",
                 std::string(failure_.message()));
  }
  return failure_;
}

void Journal::Append(Record record, Done done) {
  auto entry = std::make_shared<JournalEntry>(
      JournalEntry{clock_.Wall(), std::move(record)});
  Bytes encoded = EncodeEntry(*entry);
  log_->Append(std::move(encoded), [this, entry, done = std::move(done)](
                                       absl::StatusOr<uint64_t> sequence) {
    if (!sequence.ok() || !failure_.ok()) {
      done(Failed(sequence.status()));
      return;
    }
    // Every record was checked against the state before it was written.
    const absl::Status applied = state_.Apply(std::move(*entry), *sequence);
    if (!applied.ok()) FG_LOG_ERROR("{}", std::string(applied.message()));
    FG_CHECK(applied.ok());
    done(sequence);
  });
}

}  // namespace fedgraft
