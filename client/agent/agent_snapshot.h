#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/base/digest.h"
#include "common/base/ids.h"

namespace fedgraft {

enum class AgentState {
  kStopped,
  kJoining,    // also while the aggregator cannot be reached
  kIdle,       // joined, no run open for this site
  kPreparing,  // fetching the backbone, configuring the trainer
  kWaiting,    // for a task
  kTraining,
  kEvaluating,
  kSealing,
  kUploading,
  kFinishing,  // fetching the final model
  kFinished,
  kRefused,  // this site does not take part in the open run
};
const char* AgentStateName(AgentState state);

struct AgentSnapshot {
  AgentState state = AgentState::kStopped;
  bool connected = false;  // the aggregator answered the last call
  std::optional<RunId> run;
  std::string plan_name;
  uint32_t rounds = 0;         // of the plan
  RoundId round;               // of the current or last task
  float progress = 0;          // of the current task, 0 to 1
  uint32_t contributions = 0;  // train updates acknowledged in this process
  uint64_t bytes_sent = 0, bytes_received = 0;  // updates; backbone and models
  uint64_t train_samples = 0;
  std::string device;
  double loss = 0;  // of the last local training; stays at the site
  std::optional<Digest> final_model;
  std::string last_error;
};

}  // namespace fedgraft
