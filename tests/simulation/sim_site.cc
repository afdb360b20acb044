#include "tests/simulation/sim_site.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/agent_state.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/statistics/gathered_statistics.h"

namespace fedgraft::testing {
namespace {

class NoAudit : public AuditSink {
 public:
  absl::Status Record(const AuditEvent&) override { return absl::OkStatus(); }
};

absl::Status WriteFile(FileStore& files, const std::string& path,
                       ByteSpan content) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenAppend(path, 0));
  return file->Append(content);
}

}  // namespace

void SimTrainer::Later(absl::Duration min, absl::Duration max,
                       std::function<void(bool cancelled)> then) {
  pending_ = std::move(then);
  timer_ = strand_.After(random_.Between(min, max), [this] {
    timer_ = 0;
    std::exchange(pending_, nullptr)(/*cancelled=*/false);
  });
}

void SimTrainer::Cancel() {
  if (timer_ == 0) return;
  strand_.Cancel(std::exchange(timer_, 0));
  strand_.Post([then = std::exchange(pending_, nullptr)] { then(true); });
}

absl::StatusOr<Digest> SimTrainer::DigestOf(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files_, path));
  return Sha256(content);
}

absl::Status SimTrainer::CheckStatistics(const std::string& path) {
  const StatisticsLayout layout(*plan_, layout_);
  if (path.empty() != layout.empty()) {
    return absl::InternalError("statistics are missing, or not wanted");
  }
  if (path.empty()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files_, path));
  return DecodeGathered(layout, content).status();
}

void SimTrainer::Configure(TrainerSetup setup, Reply<TrainerReady> reply) {
  Later(absl::Milliseconds(1), absl::Milliseconds(20),
        [this, plan = std::move(setup.plan),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          auto parsed = PlanFromBytes(plan);
          if (!parsed.ok()) return reply(parsed.status());
          plan_ = *std::move(parsed);
          TrainerReady ready;
          ready.train_samples = FakeSamples(seed_, site_);
          ready.layout = layout_.digest();
          ready.device = "simulated";
          reply(ready);
        });
}

void SimTrainer::Train(TrainRequest request, Progress progress,
                       Reply<TrainResult> reply) {
  progress(0.5f);
  Later(absl::Milliseconds(1), absl::Milliseconds(400),
        [this, request = std::move(request),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          const auto model = DigestOf(request.model_path);
          if (!model.ok()) return reply(model.status());
          const absl::Status gathered =
              CheckStatistics(request.statistics_path);
          if (!gathered.ok()) return reply(gathered);
          const ParameterVector delta =
              FakeDelta(seed_, site_, request.round, *model, layout_);
          Bytes bytes(delta.size() * sizeof(float));
          std::memcpy(bytes.data(), delta.data(), bytes.size());
          const absl::Status written =
              WriteFile(files_, request.delta_path, bytes);
          if (!written.ok()) return reply(written);
          const bool has_news = request.compared_look != Digest() &&
                                FakeNews(seed_, site_, request.round);
          reply(TrainResult{FakeSamples(seed_, site_), 0.5, 0.1, {}, has_news});
        });
}

void SimTrainer::Evaluate(EvaluateRequest request, Progress progress,
                          Reply<EvaluateResult> reply) {
  progress(0.5f);
  Later(absl::Milliseconds(1), absl::Milliseconds(100),
        [this, request = std::move(request),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          const auto model = DigestOf(request.model_path);
          if (!model.ok()) return reply(model.status());
          reply(EvaluateResult{FakeSums(seed_, site_, *model), {{"auc", 0.5}}});
        });
}

void SimTrainer::Solve(SolveRequest request, Progress progress,
                       Reply<SolveResult> reply) {
  progress(0.5f);
  Later(absl::Milliseconds(1), absl::Milliseconds(200),
        [this, request = std::move(request),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          const auto content = ReadAll(files_, request.point_path);
          if (!content.ok()) return reply(content.status());
          const auto point = DecodeSolvePoint(*content);
          if (!point.ok()) return reply(point.status());
          const std::vector<double> sums = FakeSolveSums(seed_, site_, *point);
          Bytes bytes(sums.size() * sizeof(double));
          std::memcpy(bytes.data(), sums.data(), bytes.size());
          const absl::Status written =
              WriteFile(files_, request.sums_path, bytes);
          if (!written.ok()) return reply(written);
          reply(SolveResult{FakeSamples(seed_, site_)});
        });
}

void SimTrainer::Gather(GatherRequest request, Progress progress,
                        Reply<GatherResult> reply) {
  progress(0.5f);
  Later(absl::Milliseconds(1), absl::Milliseconds(200),
        [this, request = std::move(request),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          const auto model = DigestOf(request.model_path);
          if (!model.ok()) return reply(model.status());
          const std::vector<double> sums = FakeStatistics(
              seed_, site_, *model, StatisticsLayout(*plan_, layout_));
          Bytes bytes(sums.size() * sizeof(double));
          std::memcpy(bytes.data(), sums.data(), bytes.size());
          const absl::Status written =
              WriteFile(files_, request.sums_path, bytes);
          if (!written.ok()) return reply(written);
          reply(GatherResult{FakeSamples(seed_, site_)});
        });
}

void SimTrainer::Sketch(SketchRequest request, Progress progress,
                        Reply<SketchResult> reply) {
  progress(0.5f);
  Later(absl::Milliseconds(1), absl::Milliseconds(200),
        [this, request = std::move(request),
         reply = std::move(reply)](bool cancelled) {
          if (cancelled) return reply(absl::CancelledError("cancelled"));
          Bytes pooled;
          if (!request.pooled_path.empty()) {
            auto content = ReadAll(files_, request.pooled_path);
            if (!content.ok()) return reply(content.status());
            pooled = *std::move(content);
          }
          const std::vector<double> sums =
              FakeLook(seed_, site_, *plan_, layout_, pooled);
          Bytes bytes(sums.size() * sizeof(double));
          std::memcpy(bytes.data(), sums.data(), bytes.size());
          const absl::Status written =
              WriteFile(files_, request.sums_path, bytes);
          if (!written.ok()) return reply(written);
          reply(SketchResult{FakeSamples(seed_, site_),
                             {{"shift.covariate_mmd.p", 0.5}}});
        });
}

struct SimSite::Process {
  Process(SimSite* site, World* world)
      : clock(&world->loop),
        strand(&world->loop),
        executor(&world->loop, site->random_.Next()),
        random(site->random_.Fork()),
        link(&world->network, &strand, site->peer(), world->said),
        trainer(world->seed, site->id(), world->layout, site->random_.Fork(),
                &strand, &site->files_),
        agent(std::make_unique<Agent>(
            AgentPorts{clock, strand, executor, random, site->files_, link,
                       trainer, audit},
            OptionsFor(*site, *world), AgentKeys{site->identity_.key()},
            [key = world->aggregator_key](
                const std::string&) -> absl::StatusOr<Bytes> { return key; })) {
  }
  static AgentOptions OptionsFor(const SimSite& site, const World& world) {
    AgentOptions options;
    options.site = site.id();
    options.federation = world.federation;
    options.policy.cohort_min = 1;
    options.policy.samples_min = 1;
    options.policy.share_site_scalars = true;
    options.policy.secure_aggregation = MaskPolicy::kOptional;
    options.software_version = "simulated";
    options.pinned_roster = [roster = world.roster] {
      return absl::StatusOr<Roster>(roster);
    };
    options.backoff = {absl::Milliseconds(100), absl::Seconds(5)};
    return options;
  }

  SimClock clock;
  SimScheduler strand;
  SimExecutor executor;
  SimRandom random;
  NoAudit audit;
  SimLink link;
  SimTrainer trainer;
  std::unique_ptr<Agent> agent;
};

SimSite::SimSite(World* world, std::string_view name, SimRandom random)
    : world_(*world), identity_(name), random_(random) {}

SimSite::~SimSite() { Kill(); }

void SimSite::Start() {
  process_ = std::make_unique<Process>(this, &world_);
  process_->strand.Post([this] { process_->agent->Start(); });
}

void SimSite::Kill() {
  if (process_ == nullptr) return;
  process_->strand.Kill();
  process_->executor.Kill();
  process_.reset();
  files_.KillProcess();
}

void SimSite::Crash() {
  Kill();
  files_.Crash(random_.Next());
}

bool SimSite::HasFinished(const RunId& run) {
  return process_ != nullptr && ReadFinishedRun(files_, run).ok();
}

std::string SimSite::StateName() const {
  if (process_ == nullptr) return "down";
  const AgentSnapshot snapshot = process_->agent->Snapshot();
  return absl::StrCat(AgentStateName(snapshot.state), " (", snapshot.last_error,
                      ")");
}

}  // namespace fedgraft::testing
