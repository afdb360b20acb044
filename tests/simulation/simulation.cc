#include "tests/simulation/simulation.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/runtime/blob_store.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/round/round_world.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/reference_rule.h"
#include "tests/simulation/sim_intruder.h"
#include "tests/simulation/sim_network.h"
#include "tests/simulation/sim_site.h"

namespace fedgraft::testing {
namespace {

constexpr char kFederation[] = "simulated";
// Faults come for this long; a run that has not ended by kLimit is stuck.
constexpr absl::Duration kFaultsFor = absl::Seconds(90);
constexpr absl::Duration kLimit = absl::Hours(2);
// A site that gave up on a task (client/agent/task_attempts.h) takes it up
// again when its operator restarts it, which he does when it has been idle for
// long.
constexpr absl::Duration kSiteRestart = absl::Minutes(30);

// What the seed makes of the world, faults apart.
struct Shape {
  PlanSpec plan;
  int64_t extra = 0;
  bool intruder = false;
  // The longest quiet between two faults.
  absl::Duration quiet_max = absl::Seconds(3);
  CoordinatorOptions options;

  Shape(const SimulationOptions& options, SimRandom random);
};

Shape::Shape(const SimulationOptions& simulation, SimRandom random) {
  plan.rounds = simulation.rounds;
  plan.expected = simulation.sites;
  plan.quorum = random.Chance(0.6)
                    ? simulation.sites
                    : 1 + static_cast<int>(random.Below(
                              static_cast<uint64_t>(simulation.sites)));
  plan.evaluate_every = static_cast<int>(random.Below(4)) - 1;
  plan.clip_norm = random.Chance(0.5) ? 100 : 0;
  plan.round_deadline = absl::Seconds(60);
  plan.progress_timeout = absl::Seconds(10);
  plan.enrol_deadline = absl::Seconds(30);
  plan.solver = random.Chance(0.4);
  if (plan.evaluate_every > 0 && random.Chance(0.4)) {
    plan.patience = 1 + static_cast<int>(random.Below(3));
  }
  extra = static_cast<int64_t>(random.Below(3000));
  intruder = random.Chance(0.35);
  const absl::Duration quiet[] = {absl::Milliseconds(300), absl::Seconds(1),
                                  absl::Seconds(3)};
  quiet_max = quiet[random.Below(3)];
  options.federation = kFederation;
  // Every path of large things, with small ones.
  if (random.Chance(0.5)) options.inline_bytes_max = 100;
  if (random.Chance(0.5)) options.upload_inline_bytes_max = 100;
  plan.gathers = random.Chance(0.4);
  if (random.Chance(0.6)) plan.rule = RuleKeys(plan.quorum, random.Below(1000));
  // What a single step makes of few images is large.
  if (plan.rule == "kind: fed_nova") plan.clip_norm = 0;
  if (plan.rule == kScaffold) plan.solver = false;
  // Only sums can be masked.
  const bool on_sums = plan.rule.find("median") == plan.rule.npos &&
                       plan.rule.find("mean") == plan.rule.npos &&
                       plan.rule.find("krum") == plan.rule.npos;
  if (plan.quorum >= 4 && random.Chance(0.5)) {
    plan.looks_every = 1 + static_cast<int>(random.Below(3));
  }
  plan.secure = simulation.secure.value_or(random.Chance(0.5)) &&
                simulation.sites >= 3 && on_sums;
  const bool is_automatic = random.Chance(0.5);
  if (plan.secure && plan.quorum >= 3 && is_automatic) plan.masks = "auto";
  // Sums of which sites are away for longer are begun again.
  if (plan.secure && plan.patience == 0 && random.Chance(0.5)) {
    plan.round_deadline = absl::Seconds(3);
  }
}

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation() { KillAggregator(/*power_failure=*/false); }
  SimulationResult Run();

 private:
  // The aggregator's process.
  struct Process {
    Process(Simulation* simulation)
        : strand(&simulation->loop_),
          executor(&simulation->loop_, simulation->random_.Next()),
          random(simulation->random_.Fork()) {}
    SimScheduler strand;
    SimExecutor executor;
    SimRandom random;
    std::unique_ptr<Coordinator> coordinator;
    std::shared_ptr<SimServer> server;
  };

  void StartAggregator();
  void KillAggregator(bool power_failure);
  void RestartAggregator(bool power_failure);
  // The operator: starts the run, lifts pauses, restarts a failed aggregator.
  void Operate();
  void StartRun();
  void Fault();
  void DiskFault();
  void CrashSite(SimSite& site);
  void Partition(const SiteId& site);
  void PauseRun();
  NetworkFaults DrawNetwork();
  void EndFaults();
  void RestartSites();
  bool Finished() const;

  const SimulationOptions options_;
  SimRandom random_;
  const Shape shape_;
  EventLoop loop_;
  SimClock clock_{&loop_};
  SimNetwork network_;
  SimFileStore files_;
  const TestSite aggregator_{"aggregator"};
  const Bytes wrapping_key_ = Bytes(32, 0x9c);
  const Plan plan_;
  SimSite::World world_;
  Checker checker_;
  std::vector<std::unique_ptr<SimSite>> sites_;
  std::optional<SimIntruder> intruder_;
  std::unique_ptr<Process> process_;
  bool changed_ = false;
  bool starting_ = false;
  bool faults_over_ = false;
  uint64_t crashes_ = 0;
};

Simulation::Simulation(const SimulationOptions& options)
    : options_(options),
      random_(options.seed),
      shape_(options, SimRandom(options.seed).Fork()),
      loop_(options.seed),
      network_(&loop_, options.seed ^ 0x9e3779b97f4a7c15),
      plan_(MakePlan(shape_.plan)),
      world_{loop_,
             network_,
             options.seed,
             MakeLayout(shape_.extra, shape_.plan),
             aggregator_.key().PublicKey(),
             kFederation},
      checker_(options.seed, world_.layout, &files_) {
  FG_CHECK(BlobStore(files_, "blobs").Put(AsBytes("backbone")).ok());
  world_.said = [this](const SiteId& site, const SecureAnswer& answer) {
    checker_.Said(site, answer);
  };
  for (int i = 0; i < options.sites; ++i) {
    sites_.push_back(std::make_unique<SimSite>(
        &world_, absl::StrCat("site-", i), random_.Fork()));
    world_.roster.keys[sites_.back()->id()] = sites_.back()->public_key();
  }
  intruder_.emplace(&loop_, &network_, random_.Fork(), world_.layout);
}

void Simulation::StartAggregator() {
  process_ = std::make_unique<Process>(this);
  auto opened = Coordinator::Open(
      {clock_, process_->strand, process_->executor, process_->random, files_},
      {aggregator_.key(), "certificate", wrapping_key_}, shape_.options);
  if (!opened.ok()) {
    // Only a disk that stands still excuses that.
    process_.reset();
    if (absl::IsUnavailable(opened.status()) ||
        absl::IsResourceExhausted(opened.status())) {
      return RestartAggregator(/*power_failure=*/true);
    }
    return checker_.Fail("the aggregator does not start: " +
                         opened.status().ToString());
  }
  process_->coordinator = *std::move(opened);
  process_->coordinator->SetListener([this] { changed_ = true; });
  process_->server =
      std::make_shared<SimServer>(process_->coordinator.get(), &checker_);
  network_.SetServer(process_->server);
  starting_ = false;
  checker_.LookAtRestart(*process_->coordinator);
}

void Simulation::KillAggregator(bool power_failure) {
  network_.SetServer(nullptr);
  if (process_ != nullptr) {
    if (process_->server != nullptr) process_->server->Die();
    process_->strand.Kill();
    process_->executor.Kill();
    process_.reset();
  }
  if (power_failure) {
    files_.Crash(random_.Next());
  } else {
    files_.KillProcess();
  }
}

void Simulation::RestartAggregator(bool power_failure) {
  ++crashes_;
  KillAggregator(power_failure);
  loop_.Schedule(random_.Between(absl::Milliseconds(10), absl::Seconds(5)),
                 [this] {
                   if (process_ == nullptr) StartAggregator();
                 });
}

void Simulation::StartRun() {
  if (std::exchange(starting_, true)) return;
  process_->coordinator->StartRun(
      plan_, MakeModel(shape_.extra, shape_.plan),
      [this](const absl::StatusOr<RunId>&) { starting_ = false; });
}

void Simulation::Operate() {
  if (process_ != nullptr) {
    const CoordinatorSnapshot snapshot = process_->coordinator->Snapshot();
    if (!snapshot.run.has_value()) {
      StartRun();
    } else if (snapshot.state == "storage error") {
      RestartAggregator(random_.Chance(0.5));
    } else if (snapshot.state == "paused" &&
               (faults_over_ || random_.Chance(0.2))) {
      process_->coordinator->PauseRun(*snapshot.run, false,
                                      [](const absl::StatusOr<Done>&) {});
    }
  }
  loop_.Schedule(absl::Seconds(1), [this] { Operate(); });
}

void Simulation::CrashSite(SimSite& site) {
  ++crashes_;
  random_.Chance(0.5) ? site.Crash() : site.Kill();
  loop_.Schedule(random_.Between(absl::Milliseconds(10), absl::Seconds(8)),
                 [&site] {
                   if (!site.running()) site.Start();
                 });
}

void Simulation::Partition(const SiteId& site) {
  network_.Partition(site);
  loop_.Schedule(random_.Between(absl::Milliseconds(100), absl::Seconds(20)),
                 [this, site] { network_.Heal(site); });
}

void Simulation::PauseRun() {
  if (process_ == nullptr) return;
  const auto run = process_->coordinator->Snapshot().run;
  if (!run.has_value()) return;
  process_->coordinator->PauseRun(*run, true,
                                  [](const absl::StatusOr<Done>&) {});
}

// The machine stops somewhere in the middle of its next disk operations, or
// the disk is full for some of them.
void Simulation::DiskFault() {
  SimSite& site = *sites_[random_.Below(sites_.size())];
  switch (random_.Below(4)) {
    case 0:
      files_.FailAppends(1 + static_cast<int>(random_.Below(2)));
      break;
    case 1:
      site.files().FailAppends(1 + static_cast<int>(random_.Below(2)));
      break;
    case 2:
      files_.HaltAfter(1 + random_.Below(12));
      loop_.Schedule(absl::Seconds(1), [this] { RestartAggregator(true); });
      break;
    default:
      files_.FailSyncs(1);
  }
}

NetworkFaults Simulation::DrawNetwork() {
  NetworkFaults faults;
  faults.drop = random_.Chance(0.5) ? 0.03 : 0.0;
  faults.duplicate = random_.Chance(0.5) ? 0.05 : 0.0;
  faults.corrupt = random_.Chance(0.5) ? 0.02 : 0.0;
  if (random_.Chance(0.3)) faults.delay_max = absl::Milliseconds(200);
  return faults;
}

void Simulation::Fault() {
  if (faults_over_) return;
  SimSite& site = *sites_[random_.Below(sites_.size())];
  switch (random_.Below(8)) {
    case 0:
    case 1:
      RestartAggregator(random_.Chance(0.6));
      break;
    case 2:
    case 3:
      CrashSite(site);
      break;
    case 4:
      Partition(site.id());
      break;
    case 5:
      DiskFault();
      break;
    case 6:
      network_.SetFaults(DrawNetwork());
      break;
    default:
      if (random_.Chance(0.3)) PauseRun();
  }
  loop_.Schedule(random_.Between(absl::Milliseconds(5), shape_.quiet_max),
                 [this] { Fault(); });
}

void Simulation::RestartSites() {
  for (const auto& site : sites_) {
    site->Kill();
    site->Start();
  }
}

void Simulation::EndFaults() {
  faults_over_ = true;
  network_.SetFaults(NetworkFaults());
  network_.HealAll();
  if (intruder_.has_value()) intruder_->Stop();
}

bool Simulation::Finished() const {
  if (process_ == nullptr) return false;
  const CoordinatorSnapshot snapshot = process_->coordinator->Snapshot();
  if (snapshot.state != "finished") return false;
  // A site that was away all the time does not know of the run.
  return std::all_of(sites_.begin(), sites_.end(), [&](const auto& site) {
    const auto found = snapshot.sites.find(site->id());
    const bool took_part =
        found != snapshot.sites.end() && found->second.rounds_contributed > 0;
    return !took_part || site->HasFinished(*snapshot.run);
  });
}

SimulationResult Simulation::Run() {
  loop_.SetAfterEvent([this] {
    if (!std::exchange(changed_, false) || process_ == nullptr) return;
    checker_.Look(*process_->coordinator);
  });
  StartAggregator();
  loop_.Schedule(absl::Milliseconds(1), [this] { Operate(); });
  for (const auto& site : sites_) {
    loop_.Schedule(random_.Between(absl::ZeroDuration(), absl::Seconds(3)),
                   [&site] {
                     if (!site->running()) site->Start();
                   });
  }
  if (options_.faults) {
    network_.SetFaults(DrawNetwork());
    if (shape_.intruder) intruder_->Start();
    loop_.Schedule(absl::Milliseconds(1), [this] { Fault(); });
    loop_.Schedule(kFaultsFor, [this] { EndFaults(); });
    loop_.Schedule(kSiteRestart, [this] { RestartSites(); });
  }
  const absl::Time start = loop_.now();
  const bool ended = loop_.RunUntilTrue(
      [this] { return !checker_.ok() || Finished(); }, kLimit);
  SimulationResult result;
  result.failure = checker_.failure();
  if (result.ok() && !ended) {
    result.failure = absl::StrCat(
        "not finished after ", absl::FormatDuration(kLimit), ": the run is ",
        process_ == nullptr ? "down" : process_->coordinator->Snapshot().state);
    for (const auto& site : sites_) {
      absl::StrAppend(&result.failure, ", ", site->id().value, " ",
                      site->StateName());
    }
  }
  result.trace_hash = loop_.trace_hash();
  result.model = checker_.model();
  result.secure = shape_.plan.secure;
  result.abandoned = checker_.abandoned();
  result.quorum_is_all = shape_.plan.quorum == options_.sites;
  result.simulated = loop_.now() - start;
  result.events = loop_.events_run();
  result.messages = network_.messages();
  result.crashes = crashes_;
  result.acknowledged = checker_.acknowledged();
  return result;
}

}  // namespace

SimulationResult RunSimulation(const SimulationOptions& options) {
  // Garbage is sent on purpose.
  google::protobuf::SetLogHandler(nullptr);
  return Simulation(options).Run();
}

}  // namespace fedgraft::testing
