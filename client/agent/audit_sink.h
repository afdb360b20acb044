#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/base/digest.h"
#include "common/base/ids.h"

namespace fedgraft {

// What the site let out or refused to let out. Never holds values.
struct AuditEvent {
  // join, update, report, secure_step: leaves now. run_refused, refused,
  // task_failed, run_finished: what came of it; privacy_charge: what the ledger
  // counts; unmasked: why the run's updates are opened one by one. (That an
  // update arrived is in the aggregator's log; a line of its own here would
  // cost a sync per round.)
  std::string event;
  RunId run;
  RoundId round;
  uint64_t bytes = 0;
  Digest digest;       // of the bytes that leave; zero if none do
  std::string detail;  // kind of task, names of scalars, reason of a refusal
};

// Port: the site's audit log. Called on the strand, before the bytes leave:
// what cannot be recorded is not sent.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual absl::Status Record(const AuditEvent& event) = 0;
};

}  // namespace fedgraft
