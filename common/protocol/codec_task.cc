#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/protocol/codec.h"
#include "common/protocol/field_check.h"

namespace fedgraft {
namespace {

absl::StatusOr<SecureAsk> SecureFromWire(const FieldCheck& check,
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

absl::StatusOr<RunFinished> FromWire(const pb::RunFinished& wire) {
  const FieldCheck check("RunFinished");
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
  const FieldCheck check("Task");
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
  const FieldCheck check("NextTaskRequest");
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
  return FieldCheck("NextTaskReply")
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
  const FieldCheck check("HeartbeatRequest");
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

}  // namespace fedgraft
