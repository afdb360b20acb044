#include "common/protocol/codec.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Builds the errors of one message: "Task.round: expected …, got …".
class Checker {
 public:
  explicit Checker(absl::string_view message) : message_(message) {}

  absl::Status Wrong(absl::string_view field, absl::string_view expected,
                     absl::string_view got) const {
    return absl::InvalidArgumentError(absl::StrCat(
        message_, ".", field, ": expected ", expected, ", got ", got));
  }
  absl::Status Between(absl::string_view field, uint64_t value, uint64_t min,
                       uint64_t max) const {
    if (value >= min && value <= max) return absl::OkStatus();
    return Wrong(field, absl::StrCat(min, " to ", max), absl::StrCat(value));
  }
  absl::Status Size(absl::string_view field, size_t size, size_t min,
                    size_t max) const {
    if (size >= min && size <= max) return absl::OkStatus();
    return Wrong(field,
                 min == max ? absl::StrCat(min, " bytes")
                            : absl::StrCat(min, " to ", max, " bytes"),
                 absl::StrCat(size));
  }
  // 1 to `max` printable ASCII characters (0 if `may_be_empty`).
  absl::Status Text(absl::string_view field, absl::string_view text, size_t max,
                    bool may_be_empty = false) const {
    FG_RETURN_IF_ERROR(Size(field, text.size(), may_be_empty ? 0 : 1, max));
    for (char c : text) {
      if (!absl::ascii_isprint(static_cast<unsigned char>(c))) {
        return Wrong(field, "printable ASCII", "another byte");
      }
    }
    return absl::OkStatus();
  }
  absl::StatusOr<RunId> Run(absl::string_view run,
                            bool may_be_empty = false) const {
    FG_RETURN_IF_ERROR(
        Size("run_id", run.size(), may_be_empty ? 0 : 1, kRunIdBytesMax));
    for (char c : run) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' &&
          c != '_' && c != '.') {
        return Wrong("run_id", "letters, digits, '-', '_', '.'",
                     "another character");
      }
    }
    return RunId{std::string(run)};
  }
  absl::StatusOr<RoundId> Round(uint32_t round) const {
    FG_RETURN_IF_ERROR(Between("round", round, 0, kRoundMax));
    return RoundId{round};
  }
  absl::StatusOr<TaskKind> Kind(pb::TaskKind kind) const {
    switch (kind) {
      case pb::TASK_KIND_TRAIN:
        return TaskKind::kTrain;
      case pb::TASK_KIND_EVALUATE:
        return TaskKind::kEvaluate;
      case pb::TASK_KIND_SOLVE:
        return TaskKind::kSolve;
      case pb::TASK_KIND_GATHER:
        return TaskKind::kGather;
      case pb::TASK_KIND_SKETCH:
        return TaskKind::kSketch;
      default:
        return Wrong("kind",
                     "train (1), evaluate (2), solve (3), gather (4) or "
                     "sketch (5)",
                     absl::StrCat(static_cast<int>(kind)));
    }
  }
  absl::StatusOr<Digest> Sha256(absl::string_view field,
                                absl::string_view wire) const {
    FG_RETURN_IF_ERROR(Size(field, wire.size(), 32, 32));
    return Digest::FromWire({wire.data(), wire.size()});
  }

 private:
  absl::string_view message_;
};

pb::TaskKind ToWire(TaskKind kind) {
  return static_cast<pb::TaskKind>(kind);  // the same numbers
}

std::string ToWire(const Bytes& bytes) { return std::string(AsText(bytes)); }

uint32_t ToMilliseconds(absl::Duration duration) {
  const int64_t ms = absl::ToInt64Milliseconds(duration);
  FG_CHECK(ms >= 0 && ms <= UINT32_MAX);
  return static_cast<uint32_t>(ms);
}

// At most kRefusalDetailBytesMax bytes of it, without control characters.
std::string Printable(absl::string_view text) {
  std::string printable(text.substr(0, kRefusalDetailBytesMax));
  for (char& c : printable) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return printable;
}

absl::StatusOr<SecureAsk> SecureFromWire(const Checker& check,
                                         const pb::Task& wire) {
  SecureAsk secure;
  FG_RETURN_IF_ERROR(check.Between("secure_step",
                                   static_cast<uint64_t>(wire.secure_step()), 0,
                                   static_cast<uint64_t>(SecureStep::kUnmask)));
  secure.step = static_cast<SecureStep>(wire.secure_step());
  const bool is_masked = secure.step != SecureStep::kNone;
  FG_RETURN_IF_ERROR(check.Between("secure_attempt", wire.secure_attempt(),
                                   is_masked ? 1 : 0,
                                   is_masked ? kSecureAttemptMax : 0));
  FG_RETURN_IF_ERROR(check.Size("secure_payload", wire.secure_payload().size(),
                                0, is_masked ? kSecurePayloadBytesMax : 0));
  secure.attempt = wire.secure_attempt();
  secure.payload = ToBytes(AsBytes(wire.secure_payload()));
  return secure;
}

absl::Status CheckScalars(const Checker& check, const pb::SiteReport& wire) {
  if (wire.scalars().size() > kScalarsMax) {
    return check.Wrong("scalars", absl::StrCat("at most ", kScalarsMax),
                       absl::StrCat(wire.scalars().size()));
  }
  for (const auto& [name, value] : wire.scalars()) {
    FG_RETURN_IF_ERROR(check.Text("scalars.key", name, kNameBytesMax));
    if (!std::isfinite(value)) {
      return check.Wrong(absl::StrCat("scalars[", name, "]"), "a finite number",
                         absl::StrCat(value));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RunFinished> FromWire(const pb::RunFinished& wire) {
  const Checker check("RunFinished");
  RunFinished message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.model, check.Sha256("model", wire.model()));
  FG_RETURN_IF_ERROR(check.Between("model_size_bytes", wire.model_size_bytes(),
                                   1, kBlobBytesMax));
  FG_RETURN_IF_ERROR(check.Between("rounds", wire.rounds(), 0, kRoundMax));
  message.model_size_bytes = wire.model_size_bytes();
  message.rounds = wire.rounds();
  message.stopped = wire.stopped();
  return message;
}

}  // namespace

pb::JoinRequest ToWire(const JoinRequest& message) {
  pb::JoinRequest wire;
  wire.set_protocol_version(message.protocol_version);
  wire.set_software_version(message.software_version);
  for (const std::string& capability : message.capabilities) {
    wire.add_capabilities(capability);
  }
  return wire;
}

absl::StatusOr<JoinRequest> FromWire(const pb::JoinRequest& wire) {
  const Checker check("JoinRequest");
  // The version is the receiver's decision (a typed refusal), not the codec's.
  FG_RETURN_IF_ERROR(check.Text("software_version", wire.software_version(),
                                kNameBytesMax, /*may_be_empty=*/true));
  FG_RETURN_IF_ERROR(check.Between("capabilities", wire.capabilities_size(), 0,
                                   kCapabilitiesMax));
  JoinRequest message;
  message.protocol_version = wire.protocol_version();
  message.software_version = wire.software_version();
  for (const std::string& capability : wire.capabilities()) {
    FG_RETURN_IF_ERROR(check.Text("capabilities", capability, kNameBytesMax));
    message.capabilities.push_back(capability);
  }
  return message;
}

pb::RunDescriptor ToWire(const RunDescriptor& message) {
  pb::RunDescriptor wire;
  wire.set_run_id(message.run.value);
  wire.set_plan(ToWire(message.plan));
  wire.set_plan_hash(message.plan_hash.AsWire());
  wire.set_backbone_size_bytes(message.backbone_size_bytes);
  wire.set_initial_model(message.initial_model.AsWire());
  wire.set_hpke_public_key(ToWire(message.hpke_public_key));
  wire.set_hpke_key_signature(ToWire(message.hpke_key_signature));
  wire.set_aggregator_certificate_pem(message.aggregator_certificate_pem);
  wire.set_takes_chacha20_poly1305(message.takes_chacha20_poly1305);
  return wire;
}

absl::StatusOr<RunDescriptor> FromWire(const pb::RunDescriptor& wire) {
  const Checker check("RunDescriptor");
  RunDescriptor message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_RETURN_IF_ERROR(check.Size("plan", wire.plan().size(), 1, kPlanBytesMax));
  FG_ASSIGN_OR_RETURN(message.plan_hash,
                      check.Sha256("plan_hash", wire.plan_hash()));
  FG_RETURN_IF_ERROR(check.Between(
      "backbone_size_bytes", wire.backbone_size_bytes(), 0, kBlobBytesMax));
  FG_ASSIGN_OR_RETURN(message.initial_model,
                      check.Sha256("initial_model", wire.initial_model()));
  FG_RETURN_IF_ERROR(
      check.Size("hpke_public_key", wire.hpke_public_key().size(), 32, 32));
  FG_RETURN_IF_ERROR(check.Size("hpke_key_signature",
                                wire.hpke_key_signature().size(), 64, 64));
  FG_RETURN_IF_ERROR(check.Size("aggregator_certificate_pem",
                                wire.aggregator_certificate_pem().size(), 1,
                                kCertificateBytesMax));
  message.plan = ToBytes(AsBytes(wire.plan()));
  message.backbone_size_bytes = wire.backbone_size_bytes();
  message.hpke_public_key = ToBytes(AsBytes(wire.hpke_public_key()));
  message.hpke_key_signature = ToBytes(AsBytes(wire.hpke_key_signature()));
  message.aggregator_certificate_pem = wire.aggregator_certificate_pem();
  message.takes_chacha20_poly1305 = wire.takes_chacha20_poly1305();
  return message;
}

pb::JoinReply ToWire(const JoinReply& message) {
  pb::JoinReply wire;
  wire.set_protocol_version(kProtocolVersion);
  wire.set_federation(message.federation);
  if (message.run.has_value()) *wire.mutable_run() = ToWire(*message.run);
  return wire;
}

absl::StatusOr<JoinReply> FromWire(const pb::JoinReply& wire) {
  const Checker check("JoinReply");
  FG_RETURN_IF_ERROR(check.Between("protocol_version", wire.protocol_version(),
                                   kProtocolVersion, kProtocolVersion));
  FG_RETURN_IF_ERROR(check.Text("federation", wire.federation(), 63));
  JoinReply message;
  message.federation = wire.federation();
  if (wire.has_run()) {
    FG_ASSIGN_OR_RETURN(message.run, FromWire(wire.run()));
  }
  return message;
}

pb::Task ToWire(const Task& message) {
  pb::Task wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_plan_hash(message.plan_hash.AsWire());
  wire.set_model(message.model.AsWire());
  wire.set_model_size_bytes(message.model_size_bytes);
  wire.set_model_inline(ToWire(message.model_inline));
  wire.set_progress_timeout_ms(ToMilliseconds(message.progress_timeout));
  wire.set_split(message.split);
  wire.set_compare_local(message.compare_local);
  wire.set_training_round(message.training_round.value);
  if (message.statistics_size_bytes > 0) {
    wire.set_statistics(message.statistics.AsWire());
    wire.set_statistics_size_bytes(message.statistics_size_bytes);
    wire.set_statistics_inline(ToWire(message.statistics_inline));
  }
  wire.set_remedy(static_cast<pb::SiteRemedy>(message.remedy));
  wire.set_counted_round(message.counted_round.value);
  if (message.compared_look != Digest()) {
    wire.set_compared_look(message.compared_look.AsWire());
  }
  wire.set_secure_step(static_cast<pb::SecureStep>(message.secure.step));
  wire.set_secure_attempt(message.secure.attempt);
  wire.set_secure_payload(ToWire(message.secure.payload));
  return wire;
}

absl::StatusOr<Task> FromWire(const pb::Task& wire) {
  const Checker check("Task");
  Task message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  FG_ASSIGN_OR_RETURN(message.plan_hash,
                      check.Sha256("plan_hash", wire.plan_hash()));
  FG_ASSIGN_OR_RETURN(message.model, check.Sha256("model", wire.model()));
  FG_RETURN_IF_ERROR(check.Between("model_size_bytes", wire.model_size_bytes(),
                                   1, kBlobBytesMax));
  FG_RETURN_IF_ERROR(check.Size("model_inline", wire.model_inline().size(), 0,
                                kInlineModelBytesMax));
  if (!wire.model_inline().empty() &&
      wire.model_inline().size() != wire.model_size_bytes()) {
    return check.Wrong("model_inline",
                       absl::StrCat("none or all ", wire.model_size_bytes(),
                                    " bytes of the model"),
                       absl::StrCat(wire.model_inline().size()));
  }
  FG_RETURN_IF_ERROR(check.Between("progress_timeout_ms",
                                   wire.progress_timeout_ms(), 1, UINT32_MAX));
  const bool is_split = wire.split() == "train" || wire.split() == "val" ||
                        wire.split() == "test";
  if (message.kind == TaskKind::kEvaluate && !is_split) {
    return check.Wrong("split", "train, val or test", "another word");
  }
  if (message.kind != TaskKind::kEvaluate && !wire.split().empty()) {
    return check.Wrong(
        "split",
        absl::StrCat("nothing in a ", TaskKindName(message.kind), " task"),
        "a word");
  }
  FG_RETURN_IF_ERROR(
      check.Between("training_round", wire.training_round(), 0, wire.round()));
  if (wire.statistics_size_bytes() > 0) {
    FG_RETURN_IF_ERROR(check.Between("statistics_size_bytes",
                                     wire.statistics_size_bytes(), 1,
                                     kBlobBytesMax));
    FG_ASSIGN_OR_RETURN(message.statistics,
                        check.Sha256("statistics", wire.statistics()));
  }
  FG_RETURN_IF_ERROR(check.Size("statistics_inline",
                                wire.statistics_inline().size(), 0,
                                kInlineModelBytesMax));
  if (!wire.statistics_inline().empty() &&
      wire.statistics_inline().size() != wire.statistics_size_bytes()) {
    return check.Wrong(
        "statistics_inline",
        absl::StrCat("none or all ", wire.statistics_size_bytes(), " bytes"),
        absl::StrCat(wire.statistics_inline().size()));
  }
  message.statistics_inline = ToBytes(AsBytes(wire.statistics_inline()));
  if (!pb::SiteRemedy_IsValid(wire.remedy())) {
    return check.Wrong("remedy", "one that this version knows",
                       absl::StrCat(static_cast<int>(wire.remedy())));
  }
  message.remedy = static_cast<SiteRemedy>(wire.remedy());
  message.statistics_size_bytes = wire.statistics_size_bytes();
  message.training_round = RoundId{wire.training_round()};
  FG_RETURN_IF_ERROR(check.Between("counted_round", wire.counted_round(), 0,
                                   wire.training_round()));
  message.counted_round = RoundId{wire.counted_round()};
  if (!wire.compared_look().empty()) {
    FG_ASSIGN_OR_RETURN(message.compared_look,
                        check.Sha256("compared_look", wire.compared_look()));
  }
  FG_ASSIGN_OR_RETURN(message.secure, SecureFromWire(check, wire));
  message.model_size_bytes = wire.model_size_bytes();
  message.model_inline = ToBytes(AsBytes(wire.model_inline()));
  message.progress_timeout = absl::Milliseconds(wire.progress_timeout_ms());
  message.split = wire.split();
  message.compare_local = wire.compare_local();
  return message;
}

pb::NextTaskRequest ToWire(const NextTaskRequest& message) {
  pb::NextTaskRequest wire;
  wire.set_run_id(message.run.value);
  wire.set_poll_ms(ToMilliseconds(message.poll));
  return wire;
}

absl::StatusOr<NextTaskRequest> FromWire(const pb::NextTaskRequest& wire) {
  const Checker check("NextTaskRequest");
  NextTaskRequest message;
  FG_ASSIGN_OR_RETURN(message.run,
                      check.Run(wire.run_id(), /*may_be_empty=*/true));
  FG_RETURN_IF_ERROR(check.Between("poll_ms", wire.poll_ms(), 0,
                                   absl::ToInt64Milliseconds(kPollMax)));
  message.poll = absl::Milliseconds(wire.poll_ms());
  return message;
}

pb::NextTaskReply ToWire(const NextTaskReply& message) {
  pb::NextTaskReply wire;
  if (const auto* task = std::get_if<Task>(&message)) {
    *wire.mutable_task() = ToWire(*task);
  } else if (const auto* finished = std::get_if<RunFinished>(&message)) {
    pb::RunFinished& out = *wire.mutable_finished();
    out.set_run_id(finished->run.value);
    out.set_model(finished->model.AsWire());
    out.set_model_size_bytes(finished->model_size_bytes);
    out.set_rounds(finished->rounds);
    out.set_stopped(finished->stopped);
  } else if (std::holds_alternative<Rejoin>(message)) {
    wire.mutable_rejoin();
  } else {
    wire.mutable_wait();
  }
  return wire;
}

absl::StatusOr<NextTaskReply> FromWire(const pb::NextTaskReply& wire) {
  switch (wire.next_case()) {
    case pb::NextTaskReply::kTask:
      return FromWire(wire.task());
    case pb::NextTaskReply::kWait:
      return WaitMore{};
    case pb::NextTaskReply::kFinished:
      return FromWire(wire.finished());
    case pb::NextTaskReply::kRejoin:
      return Rejoin{};
    case pb::NextTaskReply::NEXT_NOT_SET:
      break;
  }
  return Checker("NextTaskReply")
      .Wrong("next", "task, wait, finished or rejoin", "nothing known");
}

pb::HeartbeatRequest ToWire(const Heartbeat& message) {
  pb::HeartbeatRequest wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_progress(message.progress);
  return wire;
}

absl::StatusOr<Heartbeat> FromWire(const pb::HeartbeatRequest& wire) {
  const Checker check("HeartbeatRequest");
  Heartbeat message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  if (!(wire.progress() >= 0 && wire.progress() <= 1)) {  // refuses NaN too
    return check.Wrong("progress", "0 to 1", absl::StrCat(wire.progress()));
  }
  message.progress = wire.progress();
  return message;
}

pb::UploadHeader ToWire(const UploadHeader& message) {
  pb::UploadHeader wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_plan_hash(message.plan_hash.AsWire());
  wire.set_base_model(message.base_model.AsWire());
  wire.set_size_bytes(message.size_bytes);
  wire.set_sealed_digest(message.sealed_digest.AsWire());
  wire.set_signature(ToWire(message.signature));
  wire.set_secure_attempt(message.secure_attempt);
  wire.set_suite(static_cast<pb::SealSuite>(message.suite));
  return wire;
}

absl::StatusOr<UploadHeader> FromWire(const pb::UploadHeader& wire) {
  const Checker check("UploadHeader");
  UploadHeader message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  FG_ASSIGN_OR_RETURN(message.plan_hash,
                      check.Sha256("plan_hash", wire.plan_hash()));
  FG_ASSIGN_OR_RETURN(message.base_model,
                      check.Sha256("base_model", wire.base_model()));
  FG_RETURN_IF_ERROR(
      check.Between("size_bytes", wire.size_bytes(), 1, kBlobBytesMax));
  FG_ASSIGN_OR_RETURN(message.sealed_digest,
                      check.Sha256("sealed_digest", wire.sealed_digest()));
  FG_RETURN_IF_ERROR(check.Size("signature", wire.signature().size(), 64, 64));
  FG_RETURN_IF_ERROR(check.Between("secure_attempt", wire.secure_attempt(), 0,
                                   kSecureAttemptMax));
  message.secure_attempt = wire.secure_attempt();
  FG_RETURN_IF_ERROR(
      check.Between("suite", static_cast<uint64_t>(wire.suite()), 0, 1));
  message.suite = static_cast<SealSuite>(wire.suite());
  message.size_bytes = wire.size_bytes();
  message.signature = ToBytes(AsBytes(wire.signature()));
  return message;
}

pb::UploadReceipt ToWire(const UploadReceipt& message) {
  pb::UploadReceipt wire;
  wire.set_sealed_digest(message.sealed_digest.AsWire());
  wire.set_sequence(message.sequence);
  return wire;
}

absl::StatusOr<UploadReceipt> FromWire(const pb::UploadReceipt& wire) {
  UploadReceipt message;
  FG_ASSIGN_OR_RETURN(
      message.sealed_digest,
      Checker("UploadReceipt").Sha256("sealed_digest", wire.sealed_digest()));
  message.sequence = wire.sequence();
  return message;
}

pb::UploadOffsetReply ToWire(const UploadOffset& message) {
  pb::UploadOffsetReply wire;
  wire.set_offset(message.offset);
  if (message.receipt.has_value()) {
    *wire.mutable_receipt() = ToWire(*message.receipt);
  }
  return wire;
}

absl::StatusOr<UploadOffset> FromWire(const pb::UploadOffsetReply& wire) {
  FG_RETURN_IF_ERROR(Checker("UploadOffsetReply")
                         .Between("offset", wire.offset(), 0, kBlobBytesMax));
  UploadOffset message;
  message.offset = wire.offset();
  if (wire.has_receipt()) {
    FG_ASSIGN_OR_RETURN(message.receipt, FromWire(wire.receipt()));
  }
  return message;
}

pb::SecureAnswer ToWire(const SecureAnswer& message) {
  pb::SecureAnswer wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  wire.set_kind(ToWire(message.kind));
  wire.set_attempt(message.attempt);
  wire.set_step(static_cast<pb::SecureStep>(message.step));
  wire.set_payload(ToWire(message.payload));
  return wire;
}

absl::StatusOr<SecureAnswer> FromWire(const pb::SecureAnswer& wire) {
  const Checker check("SecureAnswer");
  SecureAnswer message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_ASSIGN_OR_RETURN(message.kind, check.Kind(wire.kind()));
  FG_RETURN_IF_ERROR(
      check.Between("attempt", wire.attempt(), 1, kSecureAttemptMax));
  FG_RETURN_IF_ERROR(check.Between("step", static_cast<uint64_t>(wire.step()),
                                   1,
                                   static_cast<uint64_t>(SecureStep::kUnmask)));
  message.step = static_cast<SecureStep>(wire.step());
  if (message.step == SecureStep::kMask) {
    return check.Wrong("step", "a step that is no update", "mask");
  }
  FG_RETURN_IF_ERROR(
      check.Size("payload", wire.payload().size(), 1, kSecurePayloadBytesMax));
  message.attempt = wire.attempt();
  message.payload = ToBytes(AsBytes(wire.payload()));
  return message;
}

pb::SiteReport ToWire(const SiteReport& message) {
  pb::SiteReport wire;
  wire.set_run_id(message.run.value);
  wire.set_round(message.round.value);
  for (const auto& [name, value] : message.scalars) {
    (*wire.mutable_scalars())[name] = value;
  }
  wire.set_declined(Printable(message.declined));
  return wire;
}

absl::StatusOr<SiteReport> FromWire(const pb::SiteReport& wire) {
  const Checker check("SiteReport");
  SiteReport message;
  FG_ASSIGN_OR_RETURN(message.run, check.Run(wire.run_id()));
  FG_ASSIGN_OR_RETURN(message.round, check.Round(wire.round()));
  FG_RETURN_IF_ERROR(CheckScalars(check, wire));
  message.scalars.insert(wire.scalars().begin(), wire.scalars().end());
  FG_RETURN_IF_ERROR(check.Text("declined", wire.declined(),
                                kRefusalDetailBytesMax, /*may_be_empty=*/true));
  message.declined = wire.declined();
  return message;
}

std::optional<pb::Refusal> RefusalToWire(const absl::Status& status) {
  const std::optional<RefusalReason> reason = RefusalOf(status);
  if (!reason.has_value()) return std::nullopt;
  const std::string detail = Printable(status.message());
  pb::Refusal wire;
  wire.set_reason(static_cast<pb::RefusalReason>(*reason));
  wire.set_detail(std::move(detail));
  return wire;
}

absl::Status RefusalFromWire(const pb::Refusal& wire) {
  const Checker check("Refusal");
  if (wire.reason() == pb::REFUSAL_REASON_UNSPECIFIED ||
      !pb::RefusalReason_IsValid(wire.reason())) {
    return check.Wrong("reason", "a known reason",
                       absl::StrCat(static_cast<int>(wire.reason())));
  }
  FG_RETURN_IF_ERROR(check.Text("detail", wire.detail(), kRefusalDetailBytesMax,
                                /*may_be_empty=*/true));
  return RefusalError(static_cast<RefusalReason>(wire.reason()), wire.detail());
}

}  // namespace fedgraft
