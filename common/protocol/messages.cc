#include "common/protocol/messages.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr char kPayloadUrl[] = "fedgraft/refusal";
constexpr int kReasonMax = static_cast<int>(RefusalReason::kStorage);

absl::StatusCode CodeOf(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kNotAllowed:
    case RefusalReason::kBadSignature:
      return absl::StatusCode::kPermissionDenied;
    case RefusalReason::kBadDigest:
    case RefusalReason::kBadSeal:
      return absl::StatusCode::kDataLoss;
    case RefusalReason::kWrongRound:
    case RefusalReason::kUnknownRun:
    case RefusalReason::kAlreadyContributed:
    case RefusalReason::kNoTask:
      return absl::StatusCode::kFailedPrecondition;
    case RefusalReason::kStorage:
      return absl::StatusCode::kResourceExhausted;
    case RefusalReason::kProtocolVersion:
    case RefusalReason::kWrongPlan:
    case RefusalReason::kWrongBaseModel:
    case RefusalReason::kBadSize:
    case RefusalReason::kBadLayout:
    case RefusalReason::kBadWeight:
    case RefusalReason::kOverNorm:
      return absl::StatusCode::kInvalidArgument;
  }
  return absl::StatusCode::kInternal;
}

}  // namespace

absl::Status RefusalError(RefusalReason reason, std::string_view detail) {
  absl::Status status(CodeOf(reason), {detail.data(), detail.size()});
  status.SetPayload(kPayloadUrl,
                    absl::Cord(absl::StrCat(static_cast<int>(reason))));
  return status;
}

std::optional<RefusalReason> RefusalOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayloadUrl);
  int number = 0;
  if (!payload.has_value() ||
      !absl::SimpleAtoi(std::string(*payload), &number) || number < 1 ||
      number > kReasonMax) {
    return std::nullopt;
  }
  return static_cast<RefusalReason>(number);
}

const char* SecureStepName(SecureStep step) {
  switch (step) {
    case SecureStep::kNone:
      return "none";
    case SecureStep::kAdvertise:
      return "advertise";
    case SecureStep::kShare:
      return "share";
    case SecureStep::kMask:
      return "mask";
    case SecureStep::kAgree:
      return "agree";
    case SecureStep::kUnmask:
      return "unmask";
  }
  return "unknown";
}

const char* TaskKindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kTrain:
      return "train";
    case TaskKind::kEvaluate:
      return "evaluate";
    case TaskKind::kSolve:
      return "solve";
    case TaskKind::kGather:
      return "gather";
    case TaskKind::kSketch:
      return "sketch";
  }
  return "unknown";
}

std::string_view RefusalName(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kProtocolVersion:
      return "protocol_version";
    case RefusalReason::kUnknownRun:
      return "unknown_run";
    case RefusalReason::kWrongRound:
      return "wrong_round";
    case RefusalReason::kWrongPlan:
      return "wrong_plan";
    case RefusalReason::kWrongBaseModel:
      return "wrong_base_model";
    case RefusalReason::kAlreadyContributed:
      return "already_contributed";
    case RefusalReason::kBadSize:
      return "bad_size";
    case RefusalReason::kBadDigest:
      return "bad_digest";
    case RefusalReason::kBadSignature:
      return "bad_signature";
    case RefusalReason::kBadSeal:
      return "bad_seal";
    case RefusalReason::kBadLayout:
      return "bad_layout";
    case RefusalReason::kBadWeight:
      return "bad_weight";
    case RefusalReason::kOverNorm:
      return "over_norm";
    case RefusalReason::kNotAllowed:
      return "not_allowed";
    case RefusalReason::kNoTask:
      return "no_task";
    case RefusalReason::kStorage:
      return "storage";
  }
  return "unknown";
}

}  // namespace fedgraft
