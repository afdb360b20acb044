#include "client/agent/agent_snapshot.h"

namespace fedgraft {

const char* AgentStateName(AgentState state) {
  switch (state) {
    case AgentState::kStopped:
      return "stopped";
    case AgentState::kJoining:
      return "joining";
    case AgentState::kIdle:
      return "idle";
    case AgentState::kPreparing:
      return "preparing";
    case AgentState::kWaiting:
      return "waiting";
    case AgentState::kTraining:
      return "training";
    case AgentState::kEvaluating:
      return "evaluating";
    case AgentState::kSealing:
      return "sealing";
    case AgentState::kUploading:
      return "uploading";
    case AgentState::kFinishing:
      return "finishing";
    case AgentState::kFinished:
      return "finished";
    case AgentState::kRefused:
      return "refused";
  }
  return "unknown";
}

}  // namespace fedgraft
