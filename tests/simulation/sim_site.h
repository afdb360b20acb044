#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "client/agent/agent.h"
#include "common/net/roster.h"
#include "tests/round/round_world.h"
#include "tests/simulation/sim_link.h"
#include "tests/simulation/sim_network.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft::testing {

// Training whose result depends on nothing but seed, site, round and the
// model's bytes; it takes seeded simulated time. One per site process.
class SimTrainer : public LocalTrainer {
 public:
  SimTrainer(uint64_t seed, SiteId site, ParameterLayout layout,
             SimRandom random, Scheduler* strand, FileStore* files)
      : seed_(seed),
        site_(std::move(site)),
        layout_(std::move(layout)),
        random_(random),
        strand_(*strand),
        files_(*files) {}

  void Configure(TrainerSetup setup, Reply<TrainerReady> reply) override;
  void Train(TrainRequest request, Progress progress,
             Reply<TrainResult> reply) override;
  void Evaluate(EvaluateRequest request, Progress progress,
                Reply<EvaluateResult> reply) override;
  void Solve(SolveRequest request, Progress progress,
             Reply<SolveResult> reply) override;
  void Gather(GatherRequest request, Progress progress,
              Reply<GatherResult> reply) override;
  void Sketch(SketchRequest request, Progress progress,
              Reply<SketchResult> reply) override;
  void Cancel() override;

 private:
  void Later(absl::Duration min, absl::Duration max,
             std::function<void(bool cancelled)> then);
  absl::StatusOr<Digest> DigestOf(const std::string& path);
  // What was gathered has to be there, whole, exactly if the plan asks for it.
  absl::Status CheckStatistics(const std::string& path);

  const uint64_t seed_;
  const SiteId site_;
  const ParameterLayout layout_;
  std::optional<Plan> plan_;
  SimRandom random_;
  Scheduler& strand_;
  FileStore& files_;
  TimerId timer_ = 0;
  std::function<void(bool cancelled)> pending_;
};

// One hospital: a disk that outlives its processes, and the real Agent.
class SimSite {
 public:
  struct World {
    EventLoop& loop;
    SimNetwork& network;
    uint64_t seed = 0;  // of the training
    ParameterLayout layout;
    Bytes aggregator_key;  // public
    std::string federation;
    Roster roster = {};  // as all sites have pinned it
    SimLink::Said said = {};
  };
  SimSite(World* world, std::string_view name, SimRandom random);
  ~SimSite();

  void Start();
  // The process dies; with `power_failure` the disk loses what was not synced.
  void Kill();
  void Crash();
  bool running() const { return process_ != nullptr; }
  // The site holds the final model of this run.
  bool HasFinished(const RunId& run);
  std::string StateName() const;

  const SiteId& id() const { return identity_.id(); }
  Bytes public_key() const { return identity_.key().PublicKey(); }
  const SitePeer& peer() const { return identity_.peer(); }
  SimFileStore& files() { return files_; }

 private:
  struct Process;

  World& world_;
  const TestSite identity_;
  SimRandom random_;
  SimFileStore files_;
  std::unique_ptr<Process> process_;
};

}  // namespace fedgraft::testing
