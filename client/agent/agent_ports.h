#pragma once

#include "client/agent/aggregator_link.h"
#include "client/agent/audit_sink.h"
#include "client/agent/local_trainer.h"
#include "common/runtime/clock.h"
#include "common/runtime/executor.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// How an agent and its parts reach the world. All outlive the agent and the
// work that it handed to `executor`.
struct AgentPorts {
  Clock& clock;
  Scheduler& strand;
  Executor& executor;
  RandomSource& random;
  FileStore& files;  // the site's state folder
  AggregatorLink& link;
  LocalTrainer& trainer;
  AuditSink& audit;
};

}  // namespace fedgraft
