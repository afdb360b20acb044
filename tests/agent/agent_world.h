#pragma once

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/agent/agent.h"
#include "common/model/evaluation_layout.h"
#include "tests/agent/fake_aggregator.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft::testing {

// What the site's trainer does, over all its processes.
struct TrainerScript {
  std::map<uint32_t, int> trained;  // calls by round
  int configured = 0;
  int evaluated = 0;
  int cancelled = 0;
  std::optional<Digest> layout;  // other than the run's
  uint64_t samples = 64;
  ParameterVector delta = ParameterVector(8, 0.25f);
  std::map<std::string, double> scalars = {{"auc", 0.8}};
  absl::Duration duration = absl::Milliseconds(20);
  // What the next calls of Train answer instead.
  std::deque<absl::Status> train_faults;
  std::deque<absl::Status> configure_faults;
};

// A LocalTrainer that takes some simulated time.
class FakeTrainer : public LocalTrainer {
 public:
  FakeTrainer(TrainerScript* script, Scheduler* strand, FileStore* files)
      : script_(*script), strand_(*strand), files_(*files) {}

  void Configure(TrainerSetup, Reply<TrainerReady> reply) override {
    ++script_.configured;
    if (Faulty(script_.configure_faults, reply)) return;
    configured_ = true;
    TrainerReady ready;
    ready.train_samples = script_.samples;
    ready.layout = script_.layout.value_or(FakeAggregator::Layout()->digest());
    ready.device = "cpu";
    Later<TrainerReady>(reply, ready);
  }
  void Train(TrainRequest request, Progress progress,
             Reply<TrainResult> reply) override {
    ++script_.trained[request.round.value];
    if (!configured_) {
      return Later<TrainResult>(reply, absl::UnavailableError("configure"));
    }
    if (Faulty(script_.train_faults, reply)) {
      configured_ = false;
      return;
    }
    progress(0.5f);
    Bytes bytes(script_.delta.size() * sizeof(float));
    std::memcpy(bytes.data(), script_.delta.data(), bytes.size());
    auto file = files_.OpenAppend(request.delta_path, 0);
    if (file.ok()) (void)(*file)->Append(bytes);
    Later<TrainResult>(reply, TrainResult{script_.samples, 0.7, 0.02});
  }
  void Solve(SolveRequest, Progress, Reply<SolveResult> reply) override {
    Later<SolveResult>(reply, absl::UnimplementedError("no solver here"));
  }
  void Gather(GatherRequest, Progress, Reply<GatherResult> reply) override {
    Later<GatherResult>(reply, absl::UnimplementedError("gathers nothing"));
  }
  void Sketch(SketchRequest, Progress, Reply<SketchResult> reply) override {
    Later<SketchResult>(reply, absl::UnimplementedError("sketches nothing"));
  }
  void Evaluate(EvaluateRequest, Progress,
                Reply<EvaluateResult> reply) override {
    ++script_.evaluated;
    EvaluateResult result;
    result.sums.assign(static_cast<size_t>(EvaluationLayout(2).Count()), 1);
    result.scalars = script_.scalars;
    Later<EvaluateResult>(reply, result);
  }
  void Cancel() override {
    ++script_.cancelled;
    if (timer_ == 0) return;
    strand_.Cancel(std::exchange(timer_, 0));
    configured_ = false;
    strand_.Post(std::exchange(cancel_, nullptr));
  }

 private:
  template <typename T>
  bool Faulty(std::deque<absl::Status>& faults, const Reply<T>& reply) {
    if (faults.empty()) return false;
    Later<T>(reply, faults.front());
    faults.pop_front();
    return true;
  }
  template <typename T>
  void Later(const Reply<T>& reply, absl::StatusOr<T> value) {
    cancel_ = [reply] { reply(absl::CancelledError("cancelled")); };
    timer_ = strand_.After(script_.duration, [this, reply, value] {
      timer_ = 0;
      reply(value);
    });
  }

  TrainerScript& script_;
  Scheduler& strand_;
  FileStore& files_;
  bool configured_ = false;
  TimerId timer_ = 0;
  std::function<void()> cancel_;
};

class RecordingAudit : public AuditSink {
 public:
  absl::Status Record(const AuditEvent& event) override {
    events.push_back(event);
    return status;
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const AuditEvent& event : events) names.push_back(event.event);
    return names;
  }
  // Of the last event of this name; "" if there is none.
  std::string Detail(const std::string& name) const {
    for (size_t i = events.size(); i-- > 0;) {
      if (events[i].event == name) return events[i].detail;
    }
    return "";
  }
  std::vector<AuditEvent> events;
  absl::Status status;
};

// A site whose process can die and start again over the same disk, and the
// aggregator that it talks to.
class AgentWorld {
 public:
  AgentWorld() {
    options.site = SiteId{"north"};
    options.federation = "fed";
    options.exit_when_finished = true;
  }
  ~AgentWorld() { Kill(); }

  void Start() {
    process_ = std::make_unique<Process>(this);
    process_->agent->Start(
        [this](absl::Status status) { ended = std::move(status); });
  }
  // kill -9.
  void Kill() {
    if (process_ == nullptr) return;
    process_->strand.Kill();
    process_->executor.Kill();
    process_.reset();
    files.KillProcess();
  }
  // Until the agent ends by itself. False after ten simulated hours.
  bool RunToEnd() {
    return loop.RunUntilTrue([this] { return ended.has_value(); },
                             absl::Hours(10));
  }
  Agent& agent() { return *process_->agent; }

  EventLoop loop;
  SimClock clock{&loop};
  SimRandom random{1};
  SimFileStore files;
  FakeAggregator aggregator;
  TrainerScript trainer;
  RecordingAudit audit;
  AgentOptions options;
  SigningKey site_key = SigningKey::Generate();
  std::optional<absl::Status> ended;

 private:
  struct Process {
    explicit Process(AgentWorld* world)
        : strand(&world->loop),
          executor(&world->loop, 1),
          link(&world->aggregator, &world->loop, &strand),
          trainer(&world->trainer, &strand, &world->files),
          agent(std::make_unique<Agent>(
              AgentPorts{world->clock, strand, executor, world->random,
                         world->files, link, trainer, world->audit},
              world->options, AgentKeys{world->site_key},
              [world](const std::string& pem) -> absl::StatusOr<Bytes> {
                if (pem == "aggregator certificate") {
                  return world->aggregator.signing_key.PublicKey();
                }
                return absl::PermissionDeniedError("not an aggregator");
              })) {}
    SimScheduler strand;
    SimExecutor executor;
    FakeLink link;
    FakeTrainer trainer;
    std::unique_ptr<Agent> agent;
  };
  std::unique_ptr<Process> process_;
};

}  // namespace fedgraft::testing
