#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/agent/aggregator_link.h"
#include "common/config/plan.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/hpke.h"
#include "common/model/parameter_layout.h"
#include "tests/support/sim_runtime.h"

namespace fedgraft::testing {

// What the aggregator knows, as far as one site can tell: one run, a list of
// tasks of which the next is offered until its update is acknowledged, and
// faults to order. Outlives the site's processes.
class FakeAggregator {
 public:
  FakeAggregator();

  // Tasks of this run; models are made up, inline or fetched.
  Task MakeTask(uint32_t round, TaskKind kind, bool inline_model = true);
  void Offer(Task task) { tasks.push_back(std::move(task)); }
  static std::shared_ptr<const ParameterLayout> Layout();

  // The run. Change, then Sign() again.
  std::string federation = "fed";
  std::optional<RunDescriptor> run;
  Plan plan;
  void Sign();
  // From now on the run is one of feature vectors.
  void MakeIdentity();
  // Or one with secure aggregation.
  void MakeSecure(const std::string& mode = "on");
  std::map<Digest, Bytes> blobs;
  Bytes backbone;
  SigningKey signing_key;
  HpkeKeyPair hpke;
  std::deque<Task> tasks;  // front: offered now
  bool finish = true;      // the run, once there are no more tasks
  RunFinished finished;

  bool Open() const { return run.has_value() && !(finish && tasks.empty()); }

  // Uploads by digest of the sealed bytes.
  std::map<Digest, Bytes> received;
  std::map<Digest, UploadReceipt> receipts;
  std::vector<UploadHeader> acknowledged;
  std::vector<SiteReport> reports;
  std::vector<JoinRequest> joins;
  std::vector<SecureAnswer> answers;
  std::vector<Heartbeat> heartbeats;

  // Faults: the next calls of this name ("Join", "NextTask", "Fetch", "Query",
  // "Submit", "Report") answer these instead.
  std::map<std::string, std::deque<absl::Status>> faults;
  // The next Submit takes so many bytes, then the connection breaks.
  std::optional<uint64_t> cut_submit_after;
  // The next fetch breaks after so many bytes.
  std::optional<uint64_t> cut_fetch_after;
  // The next receipt is lost on the way.
  bool lose_receipt = false;
  bool cancel_tasks = false;  // answer to heartbeats

  // Every call, as "Name" or "Name@offset", and when.
  struct Entry {
    std::string call;
    absl::Time time;
  };
  std::vector<Entry> calls;
  int Count(const std::string& prefix) const;
  std::vector<std::string> CallNames() const;
};

// One process's connection to it. Answers later on the strand; long polls wait
// until there is something to say.
class FakeLink : public AggregatorLink {
 public:
  FakeLink(FakeAggregator* aggregator, EventLoop* loop, Scheduler* strand)
      : aggregator_(*aggregator), loop_(*loop), strand_(*strand) {}

  void Join(JoinRequest request, Reply<JoinReply> reply) override;
  void NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) override;
  void SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) override;
  void FetchBlob(Digest digest, uint64_t offset,
                 std::function<absl::Status(ByteSpan)> sink,
                 Reply<Done> reply) override;
  void QueryUpload(UploadHeader header, Reply<UploadOffset> reply) override;
  void Submit(UploadHeader header, uint64_t offset,
              std::shared_ptr<ReadableFile> sealed,
              Reply<UploadReceipt> reply) override;
  void Report(SiteReport report, Reply<Done> reply) override;
  void AnswerStep(SecureAnswer answer, Reply<Done> reply) override;

 private:
  // True if a fault was ordered; it is answered.
  template <typename T>
  bool Faulty(const std::string& name, const Reply<T>& reply);
  template <typename T>
  void Answer(const Reply<T>& reply, absl::StatusOr<T> value);
  void Log(std::string call);
  void Decide(const RunId& run, absl::Time deadline,
              Reply<NextTaskReply> reply);
  void Park(const RunId& run, absl::Time deadline, Reply<NextTaskReply> reply);
  absl::StatusOr<UploadReceipt> Acknowledge(const UploadHeader& header);

  FakeAggregator& aggregator_;
  EventLoop& loop_;
  Scheduler& strand_;
};

}  // namespace fedgraft::testing
