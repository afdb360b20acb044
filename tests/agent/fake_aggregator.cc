#include "tests/agent/fake_aggregator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/statements.h"

namespace fedgraft::testing {
namespace {

constexpr absl::Duration kLatency = absl::Milliseconds(1);
constexpr size_t kChunk = 100;

Plan MakePlan(const std::string& backbone, const std::string& more = "") {
  auto plan = ParsePlanYaml(absl::StrCat("version: 1\n"
                                         "name: test\n"
                                         "rounds: 5\n"
                                         "sites: {quorum: 3}\n"
                                         "task: {classes: [normal, abnormal]}\n"
                                         "backbone: {architecture: ",
                                         backbone,
                                         "}\n"
                                         "strategy: {kind: linear_probe}\n",
                                         more),
                            "plan.yaml");
  FG_CHECK(plan.ok());
  return *std::move(plan);
}

}  // namespace

std::shared_ptr<const ParameterLayout> FakeAggregator::Layout() {
  auto layout =
      ParameterLayout::Create({{"fc.weight", {2, 3}, TensorKind::kWeight},
                               {"fc.bias", {2}, TensorKind::kWeight}});
  FG_CHECK(layout.ok());
  return std::make_shared<const ParameterLayout>(*std::move(layout));
}

FakeAggregator::FakeAggregator()
    : backbone(1000, 0x5a),
      signing_key(SigningKey::Generate()),
      hpke(GenerateHpkeKeyPair()) {
  blobs[Sha256(backbone)] = backbone;
  plan = MakePlan("resnet18, sha256: " + Sha256(backbone).Hex());
  run.emplace();
  run->run = RunId{"run-1"};
  run->backbone_size_bytes = backbone.size();
  const Bytes initial = EncodeTrainableSet(*Layout(), ParameterVector(8, 0.5f));
  run->initial_model = Sha256(initial);
  blobs[run->initial_model] = initial;
  run->hpke_public_key = hpke.public_key;
  run->aggregator_certificate_pem = "aggregator certificate";
  Sign();
  const Bytes model = EncodeTrainableSet(*Layout(), ParameterVector(8, 9.0f));
  finished = {run->run, Sha256(model), model.size(), 5, false};
  blobs[finished.model] = model;
}

void FakeAggregator::MakeIdentity() {
  plan = MakePlan("identity, feature_dim: 3");
  run->backbone_size_bytes = 0;
  Sign();
}

void FakeAggregator::MakeSecure(const std::string& mode) {
  plan = MakePlan(
      "resnet18, sha256: " + Sha256(backbone).Hex(),
      absl::StrCat("privacy: {secure_aggregation: {mode: \"", mode, "\"}}\n"));
  Sign();
}

void FakeAggregator::Sign() {
  run->plan = plan.bytes;
  run->plan_hash = Sha256(plan.bytes);
  run->hpke_key_signature = signing_key.Sign(
      RunKeyStatement(run->run, run->plan_hash, run->hpke_public_key));
}

Task FakeAggregator::MakeTask(uint32_t round, TaskKind kind,
                              bool inline_model) {
  const Bytes model = EncodeTrainableSet(
      *Layout(), ParameterVector(8, static_cast<float>(round)));
  Task task;
  task.run = run->run;
  task.round = RoundId{round};
  task.kind = kind;
  task.plan_hash = run->plan_hash;
  task.model = Sha256(model);
  task.model_size_bytes = model.size();
  if (inline_model) task.model_inline = model;
  blobs[task.model] = model;
  task.progress_timeout = absl::Seconds(60);
  if (kind == TaskKind::kEvaluate) task.split = "val";
  task.training_round = task.round;
  return task;
}

int FakeAggregator::Count(const std::string& prefix) const {
  return static_cast<int>(
      std::count_if(calls.begin(), calls.end(), [&](const Entry& entry) {
        return absl::StartsWith(entry.call, prefix);
      }));
}

std::vector<std::string> FakeAggregator::CallNames() const {
  std::vector<std::string> names;
  for (const Entry& entry : calls) names.push_back(entry.call);
  return names;
}

void FakeLink::Log(std::string call) {
  aggregator_.calls.push_back({std::move(call), loop_.now()});
}

template <typename T>
void FakeLink::Answer(const Reply<T>& reply, absl::StatusOr<T> value) {
  strand_.After(kLatency, [reply, value = std::move(value)] { reply(value); });
}

template <typename T>
bool FakeLink::Faulty(const std::string& name, const Reply<T>& reply) {
  auto& queue = aggregator_.faults[name];
  if (queue.empty()) return false;
  const absl::Status fault = queue.front();
  queue.pop_front();
  Answer<T>(reply, fault);
  return true;
}

void FakeLink::Join(JoinRequest request, Reply<JoinReply> reply) {
  Log("Join");
  aggregator_.joins.push_back(request);
  FG_CHECK(request.protocol_version == kProtocolVersion);
  if (Faulty("Join", reply)) return;
  JoinReply answer{aggregator_.federation, std::nullopt};
  if (aggregator_.Open()) answer.run = aggregator_.run;
  Answer<JoinReply>(reply, answer);
}

void FakeLink::NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) {
  Log("NextTask");
  if (Faulty("NextTask", reply)) return;
  Decide(request.run, loop_.now() + request.poll, reply);
}

void FakeLink::Decide(const RunId& run, absl::Time deadline,
                      Reply<NextTaskReply> reply) {
  if (run.value.empty() && !aggregator_.Open()) {
    return Park(run, deadline, std::move(reply));
  }
  if (!aggregator_.run.has_value() || run != aggregator_.run->run) {
    return Answer<NextTaskReply>(reply, NextTaskReply(Rejoin{}));
  }
  if (!aggregator_.tasks.empty()) {
    return Answer<NextTaskReply>(reply,
                                 NextTaskReply(aggregator_.tasks.front()));
  }
  if (aggregator_.finish) {
    return Answer<NextTaskReply>(reply, NextTaskReply(aggregator_.finished));
  }
  Park(run, deadline, std::move(reply));
}

void FakeLink::Park(const RunId& run, absl::Time deadline,
                    Reply<NextTaskReply> reply) {
  if (loop_.now() >= deadline) return reply(NextTaskReply(WaitMore{}));
  strand_.After(absl::Seconds(1),
                [this, run, deadline, reply] { Decide(run, deadline, reply); });
}

void FakeLink::SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) {
  Log("Heartbeat");
  aggregator_.heartbeats.push_back(heartbeat);
  Answer<bool>(reply, aggregator_.cancel_tasks);
}

void FakeLink::FetchBlob(Digest digest, uint64_t offset,
                         std::function<absl::Status(ByteSpan)> sink,
                         Reply<Done> reply) {
  Log(absl::StrCat("Fetch@", offset));
  if (Faulty("Fetch", reply)) return;
  const auto blob = aggregator_.blobs.find(digest);
  if (blob == aggregator_.blobs.end()) {
    return Answer<Done>(reply, absl::NotFoundError("no such blob"));
  }
  const Bytes& bytes = blob->second;
  if (offset > bytes.size()) {
    return Answer<Done>(reply, absl::OutOfRangeError("beyond the blob"));
  }
  uint64_t end = bytes.size();
  absl::StatusOr<Done> outcome = Done{};
  if (aggregator_.cut_fetch_after.has_value()) {
    end = std::min<uint64_t>(end, *aggregator_.cut_fetch_after);
    aggregator_.cut_fetch_after.reset();
    outcome = absl::UnavailableError("connection lost");
  }
  Bytes part(bytes.begin() + static_cast<ptrdiff_t>(std::min(offset, end)),
             bytes.begin() + static_cast<ptrdiff_t>(end));
  strand_.After(kLatency, [this, part = std::move(part), sink = std::move(sink),
                           reply, outcome] {
    for (size_t begin = 0; begin < part.size(); begin += kChunk) {
      const absl::Status taken = sink(ByteSpan(part).subspan(begin, kChunk));
      if (!taken.ok()) return Answer<Done>(reply, taken);
    }
    Answer<Done>(reply, outcome);
  });
}

void FakeLink::QueryUpload(UploadHeader header, Reply<UploadOffset> reply) {
  Log("Query");
  if (Faulty("Query", reply)) return;
  UploadOffset offset;
  offset.offset = aggregator_.received[header.sealed_digest].size();
  const auto receipt = aggregator_.receipts.find(header.sealed_digest);
  if (receipt != aggregator_.receipts.end()) offset.receipt = receipt->second;
  Answer<UploadOffset>(reply, offset);
}

absl::StatusOr<UploadReceipt> FakeLink::Acknowledge(
    const UploadHeader& header) {
  Bytes& bytes = aggregator_.received[header.sealed_digest];
  if (DigestOfSealed(UpdatePayloadHead::kBytes, bytes) !=
      header.sealed_digest) {
    bytes.clear();
    return RefusalError(RefusalReason::kBadDigest, "digest");
  }
  const UploadReceipt receipt{header.sealed_digest,
                              aggregator_.receipts.size() + 1};
  aggregator_.receipts[header.sealed_digest] = receipt;
  aggregator_.acknowledged.push_back(header);
  if (!aggregator_.tasks.empty() &&
      aggregator_.tasks.front().round == header.round &&
      aggregator_.tasks.front().kind == header.kind) {
    aggregator_.tasks.pop_front();
  }
  return receipt;
}

void FakeLink::Submit(UploadHeader header, uint64_t offset,
                      std::shared_ptr<ReadableFile> sealed,
                      Reply<UploadReceipt> reply) {
  Log(absl::StrCat("Submit@", offset));
  if (Faulty("Submit", reply)) return;
  Bytes& bytes = aggregator_.received[header.sealed_digest];
  FG_CHECK(sealed->size_bytes() == header.size_bytes);
  if (offset != bytes.size()) {
    return Answer<UploadReceipt>(reply, absl::OutOfRangeError("offset"));
  }
  uint64_t end = header.size_bytes;
  const bool cut = aggregator_.cut_submit_after.has_value();
  if (cut) end = *std::exchange(aggregator_.cut_submit_after, std::nullopt);
  Bytes part(end - offset);
  const absl::Status read = sealed->ReadAt(offset, absl::MakeSpan(part));
  if (!read.ok()) return Answer<UploadReceipt>(reply, read);
  bytes.insert(bytes.end(), part.begin(), part.end());
  if (cut) {
    return Answer<UploadReceipt>(reply,
                                 absl::UnavailableError("connection lost"));
  }
  absl::StatusOr<UploadReceipt> receipt = Acknowledge(header);
  if (std::exchange(aggregator_.lose_receipt, false)) {
    receipt = absl::UnavailableError("connection lost");
  }
  Answer<UploadReceipt>(reply, std::move(receipt));
}

void FakeLink::Report(SiteReport report, Reply<Done> reply) {
  Log("Report");
  if (Faulty("Report", reply)) return;
  aggregator_.reports.push_back(std::move(report));
  Answer<Done>(reply, Done{});
}

void FakeLink::AnswerStep(SecureAnswer answer, Reply<Done> reply) {
  Log(std::string("AnswerStep ") + SecureStepName(answer.step));
  if (Faulty("AnswerStep", reply)) return;
  auto& tasks = aggregator_.tasks;
  if (!tasks.empty() && tasks.front().secure.step == answer.step) {
    tasks.pop_front();
  }
  aggregator_.answers.push_back(std::move(answer));
  Answer<Done>(reply, Done{});
}

}  // namespace fedgraft::testing
