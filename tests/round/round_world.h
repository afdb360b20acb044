#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/store/spool.h"
#include "common/config/plan.h"
#include "common/crypto/ed25519.h"
#include "common/model/parameter_layout.h"
#include "common/protocol/messages.h"
#include "common/solve/solve_point.h"
#include "common/statistics/start_statistics.h"
#include "tests/support/event_loop.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/sim_runtime.h"

// Arranges coordinator tests: a coordinator on simulated ports, and sites that
// answer tasks as a real one would but whose every byte a test can change.

namespace fedgraft::testing {

// A rule that adds to layout and model, and asks for plain steps.
inline constexpr char kScaffold[] = "kind: scaffold";

struct PlanSpec {
  int rounds = 2;
  int quorum = 2;
  int expected = 3;
  int evaluate_every = -1;  // never
  bool uniform = false;
  double clip_norm = 0;
  bool stochastic = false;  // rounding of updates
  int patience = 0;         // of early stopping by the loss
  bool solver = false;      // an exact head before the rounds of training
  // Class counts and Fisher information before the rounds of training.
  bool gathers = false;
  std::string rule = "kind: fed_avg";  // keys of the plan's rule
  bool secure = false;                 // secure aggregation
  std::string masks = "";              // its mode; "": as `secure` says
  int looks_every = 0;                 // at shift; 0: never
  std::string on_shift = "recommend";
  absl::Duration round_deadline = absl::Minutes(10);
  absl::Duration progress_timeout = absl::Seconds(30);
  absl::Duration enrol_deadline = absl::Minutes(5);
};
Plan MakePlan(const PlanSpec& spec);

// A head and a pooled BatchNorm layer, and `extra` more weights; what rule
// scaffold adds to that, where the spec has it.
ParameterLayout MakeLayout(int64_t extra = 0, const PlanSpec& spec = {});
RunModel MakeModel(int64_t extra = 0, const PlanSpec& spec = {});

// What a site's training makes of a model: a function of its arguments only.
ParameterVector FakeDelta(uint64_t seed, const SiteId& site, RoundId round,
                          const Digest& model, const ParameterLayout& layout);
uint64_t FakeSamples(uint64_t seed, const SiteId& site);
// Whether its records have changed in this round of training.
bool FakeNews(uint64_t seed, const SiteId& site, RoundId round);
// Sums of a site's records at a solve point.
std::vector<double> FakeSolveSums(uint64_t seed, const SiteId& site,
                                  const SolvePoint& point);
// Sums of a site's records at a model, in the order of `layout`.
std::vector<double> FakeStatistics(uint64_t seed, const SiteId& site,
                                   const Digest& model,
                                   const StatisticsLayout& layout);
// A site's sums for the stage that follows `pooled`, of records that depend on
// seed and site alone.
std::vector<double> FakeLook(uint64_t seed, const SiteId& site,
                             const Plan& plan, const ParameterLayout& layout,
                             ByteSpan pooled);
// Sums of a plausible evaluation of two classes.
std::vector<double> FakeSums(uint64_t seed, const SiteId& site,
                             const Digest& model);

// A sealed, signed update in memory.
struct TestUpdate {
  UploadHeader header;
  Bytes sealed;
};

// One hospital as the coordinator's tests need it.
class TestSite {
 public:
  explicit TestSite(std::string_view name);
  const SiteId& id() const { return peer_.id; }
  const SitePeer& peer() const { return peer_; }
  const SigningKey& key() const { return key_; }

  // Plaintext of an update: head and packed words.
  static Bytes TrainPayload(const Plan& plan, const ParameterLayout& layout,
                            const ParameterVector& delta, uint64_t samples,
                            bool has_news = false);
  static Bytes EvaluatePayload(const Plan& plan, std::vector<double> sums);
  static Bytes SolvePayload(const Plan& plan, const SolvePoint& point,
                            const std::vector<double>& sums);
  // Of a ring of 64 bits.
  static Bytes WordsPayload(std::vector<uint64_t> words);
  static Bytes GatherPayload(const Plan& plan, const ParameterLayout& layout,
                             const std::vector<double>& sums);
  // The header that answers `task`, without size, digest and signature.
  static UploadHeader HeaderFor(const Task& task);
  // Seals any payload and signs.
  TestUpdate Seal(const RunDescriptor& run, UploadHeader header,
                  ByteSpan payload, RandomSource& random) const;
  // Fills in size, digest and signature of already sealed bytes.
  TestUpdate Sign(UploadHeader header, Bytes sealed) const;

 private:
  SigningKey key_;
  SitePeer peer_;
};

// A coordinator on simulated ports. Calls run the loop until their answer.
class RoundWorld {
 public:
  explicit RoundWorld(uint64_t seed = 1);
  ~RoundWorld();

  absl::Status Open();
  // The process ends, gently or by a power failure; then Open again.
  void Kill();
  void Crash();
  absl::Status Reopen() {
    Kill();
    return Open();
  }

  RunId StartRun(const PlanSpec& spec, int64_t extra = 0);
  absl::StatusOr<JoinReply> Join(const TestSite& site);
  // A poll that is answered at once or, with WaitMore, after 1 ms.
  absl::StatusOr<NextTaskReply> NextTask(const TestSite& site);
  // The task that NextTask gives; aborts the test without one.
  Task TaskOf(const TestSite& site);
  absl::StatusOr<UploadOffset> Query(const TestSite& site,
                                     const UploadHeader& header);
  absl::StatusOr<std::shared_ptr<SpoolUpload>> Begin(const TestSite& site,
                                                     const UploadHeader& header,
                                                     uint64_t offset);
  absl::StatusOr<UploadReceipt> Finish(const TestSite& site,
                                       const UploadHeader& header,
                                       std::shared_ptr<SpoolUpload> upload);
  // Begin at 0, append everything, Finish.
  absl::StatusOr<UploadReceipt> Upload(const TestSite& site,
                                       const TestUpdate& update);
  absl::StatusOr<bool> Heartbeat(const TestSite& site, const Task& task);
  absl::Status Report(const TestSite& site, RoundId round,
                      std::map<std::string, double> scalars,
                      std::string declined = "");
  // In the step of secure aggregation that `task` asks for.
  absl::Status AnswerStep(const TestSite& site, const Task& task,
                          Bytes payload);
  absl::Status Stop();
  absl::Status Pause(bool paused);
  absl::StatusOr<Bytes> Blob(const TestSite& site, const Digest& digest);

  // The honest answer to a task.
  TestUpdate Answer(const TestSite& site, const Task& task);
  // Joins all, in order; starts nothing.
  void JoinAll(const std::vector<const TestSite*>& sites);
  // Takes the task of each and uploads the honest answer.
  void Contribute(const std::vector<const TestSite*>& sites);
  // Lets what is due within `duration` happen.
  void Run(absl::Duration duration = absl::Milliseconds(50));

  Coordinator& coordinator() { return *coordinator_; }
  CoordinatorSnapshot Snapshot() const { return coordinator_->Snapshot(); }
  std::string state() const { return Snapshot().state; }
  const RunDescriptor& run() const { return *descriptor_; }
  const Plan& plan() const { return *plan_; }

  EventLoop loop;
  SimFileStore files;
  SimRandom random;
  CoordinatorOptions options;
  Bytes wrapping_key = Bytes(32, 0x9c);
  std::set<SiteId> changed;  // since the newest look, where one asks

 private:
  template <typename T>
  absl::StatusOr<T> Await(const std::function<void(Reply<T>)>& call);

  SimClock clock_;
  SigningKey signing_key_;
  std::unique_ptr<SimScheduler> strand_;
  std::unique_ptr<SimExecutor> executor_;
  std::unique_ptr<Coordinator> coordinator_;
  std::optional<Plan> plan_;
  std::optional<ParameterLayout> layout_;
  std::optional<RunDescriptor> descriptor_;
};

}  // namespace fedgraft::testing
