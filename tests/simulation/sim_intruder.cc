#include "tests/simulation/sim_intruder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/config/plan_loader.h"
#include "common/numeric/update_payload.h"
#include "common/protocol/codec.h"
#include "proto/federation.pb.h"

namespace fedgraft::testing {
namespace {

constexpr Method kUnaryMethods[] = {Method::kJoin,      Method::kNextTask,
                                    Method::kHeartbeat, Method::kQuery,
                                    Method::kReport,    Method::kSecure};

}  // namespace

SimIntruder::SimIntruder(EventLoop* loop, SimNetwork* network, SimRandom random,
                         ParameterLayout layout)
    : loop_(*loop),
      network_(*network),
      random_(random),
      identity_("intruder"),
      layout_(std::move(layout)) {}

void SimIntruder::Act() {
  if (stopped_) return;
  switch (random_.Below(6)) {
    case 0:
      Flood();
      break;
    case 1:
      Join();
      break;
    case 2:
      TakeTask();
      break;
    case 3:
      SendMutant();
      break;
    default:
      SendBadUpdate();
      break;
  }
  loop_.Schedule(random_.Between(absl::Milliseconds(5), absl::Seconds(2)),
                 [this] { Act(); });
}

void SimIntruder::Call(Method method, std::string request) {
  network_.Unary(identity_.peer(), method, std::move(request),
                 [](const WireAnswer&) {});
}

void SimIntruder::Flood() {
  std::string garbage(random_.Below(200), '\0');
  random_.Fill(absl::MakeSpan(reinterpret_cast<uint8_t*>(garbage.data()),
                              garbage.size()));
  for (const Method method : kUnaryMethods) Call(method, garbage);
}

void SimIntruder::Join() {
  network_.Unary(identity_.peer(), Method::kJoin,
                 ToWire(JoinRequest{}).SerializeAsString(),
                 [this](const WireAnswer& answer) {
                   pb::JoinReply wire;
                   if (!wire.ParseFromString(answer.body)) return;
                   if (auto reply = FromWire(wire); reply.ok()) {
                     run_ = reply->run;
                   }
                 });
}

void SimIntruder::TakeTask() {
  NextTaskRequest request;
  if (run_.has_value()) request.run = run_->run;
  request.poll = absl::Seconds(5);
  network_.Unary(identity_.peer(), Method::kNextTask,
                 ToWire(request).SerializeAsString(),
                 [this](const WireAnswer& answer) {
                   pb::NextTaskReply wire;
                   if (!wire.ParseFromString(answer.body)) return;
                   auto reply = FromWire(wire);
                   if (!reply.ok()) return;
                   if (auto* task = std::get_if<Task>(&*reply)) {
                     task_ = std::move(*task);
                   }
                 });
}

// A sound message with a few bits flipped.
void SimIntruder::SendMutant() {
  if (!task_.has_value()) return;
  UploadHeader header = TestSite::HeaderFor(*task_);
  header.size_bytes = 1000;
  header.signature = Bytes(64, 1);
  std::string bytes;
  const Method method = kUnaryMethods[random_.Below(std::size(kUnaryMethods))];
  switch (method) {
    case Method::kQuery:
      bytes = ToWire(header).SerializeAsString();
      break;
    case Method::kReport:
      bytes = ToWire(SiteReport{task_->run, task_->round, {{"n", 1}}})
                  .SerializeAsString();
      break;
    case Method::kSecure: {
      SecureAnswer answer;
      answer.run = task_->run;
      answer.round = task_->round;
      answer.kind = task_->kind;
      answer.attempt = std::max(task_->secure.attempt, 1u);
      if (!task_->secure.AsksUpdate()) answer.step = task_->secure.step;
      answer.payload = Bytes(64, 1);
      bytes = ToWire(answer).SerializeAsString();
      break;
    }
    case Method::kHeartbeat:
      bytes = ToWire(Heartbeat{task_->run, task_->round, task_->kind, 0.1f})
                  .SerializeAsString();
      break;
    default:
      bytes = ToWire(NextTaskRequest{task_->run, absl::Seconds(1)})
                  .SerializeAsString();
  }
  for (int flips = 0; flips < 3; ++flips) {
    bytes[random_.Below(bytes.size())] ^=
        static_cast<char>(1 << random_.Below(8));
  }
  Call(method, std::move(bytes));
}

Bytes SimIntruder::BadPayload(const Plan& plan) {
  const ParameterVector delta(static_cast<size_t>(layout_.Count()), 0.01f);
  Bytes payload = TestSite::TrainPayload(plan, layout_, delta, 10);
  UpdatePayloadHead head =
      *DecodeUpdateHead(ByteSpan(payload).first(UpdatePayloadHead::kBytes));
  switch (random_.Below(4)) {
    case 0:
      head.weight_word = random_.Chance(0.5) ? 0 : ~uint64_t{0};
      break;
    case 1:
      head.layout.bytes[3] ^= 1;
      break;
    case 2:  // words as large as they come
      std::fill(payload.begin() + UpdatePayloadHead::kBytes, payload.end(),
                uint8_t{0x7f});
      break;
    default:
      --head.ring.fraction_bits;
  }
  const Bytes encoded = EncodeUpdateHead(head);
  std::copy(encoded.begin(), encoded.end(), payload.begin());
  return payload;
}

void SimIntruder::SendBadUpdate() {
  if (!task_.has_value() || !run_.has_value()) return;
  const auto plan = PlanFromBytes(run_->plan);
  if (!plan.ok()) return;
  UploadHeader header = TestSite::HeaderFor(*task_);
  const Bytes payload = BadPayload(*plan);
  TestUpdate update = identity_.Seal(*run_, header, payload, random_);
  switch (random_.Below(4)) {
    case 0:  // signed well, does not open
      update.sealed[random_.Below(update.sealed.size())] ^= 1;
      update = identity_.Sign(header, update.sealed);
      break;
    case 1:  // somebody else's signature
      update = TestSite("site-0").Sign(header, update.sealed);
      update.header.signature[0] ^= 1;
      break;
    default:
      break;
  }
  SubmitBytes(update.header, std::move(update.sealed));
}

void SimIntruder::SubmitBytes(UploadHeader header, Bytes sealed) {
  auto left = std::make_shared<std::optional<Bytes>>(std::move(sealed));
  const bool cut = random_.Chance(0.2);
  network_.Submit(
      identity_.peer(),
      [header = std::move(header), left, cut]() -> std::optional<std::string> {
        if (!left->has_value()) return std::nullopt;
        if (cut) (*left)->resize((*left)->size() / 2);
        pb::SubmitChunk chunk;
        *chunk.mutable_header() = ToWire(header);
        chunk.set_data(AsText(**left).data(), (*left)->size());
        left->reset();
        return chunk.SerializeAsString();
      },
      [](const WireAnswer&) {});
}

}  // namespace fedgraft::testing
