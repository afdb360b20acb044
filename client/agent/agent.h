#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_ports.h"
#include "client/agent/backoff.h"
#include "client/policy/site_policy.h"
#include "common/crypto/ed25519.h"
#include "common/protocol/messages.h"

namespace fedgraft {

struct AgentOptions {
  SiteId site;
  std::string federation;
  SitePolicy policy;
  std::string software_version;
  // How long the aggregator may hold a NextTask call.
  absl::Duration poll = absl::Seconds(30);
  // How often to ask again while no run is open.
  absl::Duration idle_poll = absl::Milliseconds(500);
  BackoffOptions backoff;
  // Largest backbone or model fetched.
  uint64_t blob_size_bytes_max = uint64_t{16} << 30;
  // End (see Start) after the first run instead of waiting for another.
  bool exit_when_finished = false;
};

struct AgentKeys {
  const SigningKey& signing_key;  // of the site's certificate; outlives agent
};

// The Ed25519 public key of an aggregator certificate (PEM): PERMISSION_DENIED
// unless the federation's CA issued it, it is valid now and its role is
// aggregator. The agent itself checks the run key's signature with that key.
using AggregatorKeyOf =
    std::function<absl::StatusOr<Bytes>(const std::string& certificate_pem)>;

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

// One site's side of the protocol: joins, checks the run against the site's
// policy, prepares backbone and trainer, then turns tasks into sealed updates
// and delivers each until it is acknowledged or refused.
//
// Everything happens on the strand of `ports`, heavy work on the executor. An
// update is durable at the site before its first byte leaves; an agent made
// anew over the same files delivers it instead of training again.
//
// Files (in ports.files): backbones/<sha256>.safetensors;
// runs/<run>/initial.safetensors;
// runs/<run>/update-<kind>.sealed the last finished update; runs/<run>/trainer/
// the trainer's own state; work/ files of the current task;
// runs/<run>/final.safetensors and finished.json the result.
//
// Life cycle: construct, Start once on the strand; Stop before destruction,
// unless it ended by itself. Callbacks that are under way after that do
// nothing.
class Agent {
 public:
  Agent(AgentPorts ports, AgentOptions options, AgentKeys keys,
        AggregatorKeyOf aggregator_key);
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // `ended` runs on the strand, once, if the agent ends by itself
  // (exit_when_finished): OK after a finished run, else why this site did not
  // take part.
  void Start(std::function<void(absl::Status)> ended = nullptr);
  // Ends the trainer's call; `done` runs on the strand once no work of the
  // agent is left on the executor.
  void Stop(std::function<void()> done);

  AgentSnapshot Snapshot() const;
  // `changed` runs on the strand after every visible change.
  void SetListener(std::function<void()> changed);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedgraft
