#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/agent/agent.h"
#include "client/agent/agent_ports.h"
#include "client/agent/background.h"
#include "client/agent/callback_guard.h"
#include "client/agent/run_context.h"
#include "client/secagg/secure_site.h"
#include "client/update/update_pipeline.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// This site's part in secure aggregation: answers the steps that are no
// updates, and masks the update of the one that is. What a step lets out is in
// the audit log first.
//
// Single-strand, but for Mask; one task at a time.
class SecureTasks {
 public:
  // All referenced outlive the object and the work that it began.
  SecureTasks(AgentPorts ports, const AgentOptions& options, AgentKeys keys,
              Background& background);

  // REQUIRES: !task.secure.AsksUpdate(). CANCELLED: the connection was lost;
  // the task may be asked for again. Else the errors of SecureSite, of the
  // audit log, or the aggregator's refusal.
  void Run(std::shared_ptr<const RunContext> run, const Task& task,
           Reply<Done> reply);
  // Whatever is under way does not answer any more.
  void Abort() { guard_.Invalidate(); }

  // Masks an update for a task of step kMask; for the executor.
  std::function<absl::StatusOr<MaskedUpdate>(QuantizedUpdate)> Masker(
      std::shared_ptr<const RunContext> run, const Task& task) const;

 private:
  struct Work;

  std::shared_ptr<Work> MakeWork(std::shared_ptr<const RunContext> run,
                                 const Task& task) const;
  void Send(const Task& task, Bytes payload, const Reply<Done>& reply);

  AgentPorts ports_;
  const AgentOptions& options_;
  AgentKeys keys_;
  Background& background_;
  // Shared with work on the executor.
  std::shared_ptr<SecureSite> site_;
  CallbackGuard guard_;
};

}  // namespace fedgraft
