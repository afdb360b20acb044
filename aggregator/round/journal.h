#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/round/records.h"
#include "aggregator/round/run_state.h"
#include "aggregator/store/log.h"

namespace fedgraft {

// The log as the coordinator's truth: a record changes the state once it is
// durable, not before, so that state and log never differ. Single-strand.
class Journal {
 public:
  using Done = std::function<void(absl::StatusOr<uint64_t> sequence)>;

  // Replays the log into `state`, which outlives the journal. DATA_LOSS: the
  // log is damaged before its tail, or its records do not follow one another.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(CoordinatorPorts ports,
                                                       RunState& state);

  // Writes `record`; once it is durable applies it to the state and calls
  // `done`, in the order of the calls. A kStorage refusal, with the state as it
  // was, if the log has failed: nothing can be acknowledged until a restart.
  void Append(Record record, Done done);
  // See Log: a record is being made that should share a sync with others.
  void Expect() { log_->Expect(); }
  void Settle() { log_->Settle(); }
  // OK, or the kStorage refusal that every Append answers from now on.
  const absl::Status& failure() const { return failure_; }

 private:
  Journal(Clock& clock, RunState& state) : clock_(clock), state_(state) {}
  absl::Status Failed(const absl::Status& status);

  Clock& clock_;
  RunState& state_;
  std::unique_ptr<Log> log_;
  absl::Status failure_;
};

}  // namespace fedgraft
