#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/agent/agent_ports.h"
#include "client/agent/agent_snapshot.h"
#include "client/agent/backoff.h"
#include "client/policy/site_policy.h"
#include "common/crypto/ed25519.h"
#include "common/net/roster.h"
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
  // The sites and keys that people here have confirmed (common/net/roster.h),
  // read anew for each join, run and step of secure aggregation; any thread.
  // NOT_FOUND: none are.
  std::function<absl::StatusOr<Roster>()> pinned_roster;
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
