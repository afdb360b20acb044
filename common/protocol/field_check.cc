#include "common/protocol/field_check.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/protocol/codec.h"

namespace fedgraft {

absl::Status FieldCheck::Wrong(absl::string_view field,
                               absl::string_view expected,
                               absl::string_view got) const {
  return absl::InvalidArgumentError(absl::StrCat(
      message_, ".", field, ": expected ", expected, ", got ", got));
}

absl::Status FieldCheck::Between(absl::string_view field, uint64_t value,
                                 uint64_t min, uint64_t max) const {
  if (value >= min && value <= max) return absl::OkStatus();
  return Wrong(field, absl::StrCat(min, " to ", max), absl::StrCat(value));
}

absl::Status FieldCheck::Size(absl::string_view field, size_t size, size_t min,
                              size_t max) const {
  if (size >= min && size <= max) return absl::OkStatus();
  return Wrong(field,
               min == max ? absl::StrCat(min, " bytes")
                          : absl::StrCat(min, " to ", max, " bytes"),
               absl::StrCat(size));
}

absl::Status FieldCheck::Text(absl::string_view field, absl::string_view text,
                              size_t max, bool may_be_empty) const {
  FG_RETURN_IF_ERROR(Size(field, text.size(), may_be_empty ? 0 : 1, max));
  for (char c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) {
      return Wrong(field, "printable ASCII", "another byte");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RunId> FieldCheck::Run(absl::string_view run,
                                      bool may_be_empty) const {
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

absl::StatusOr<RoundId> FieldCheck::Round(uint32_t round) const {
  FG_RETURN_IF_ERROR(Between("round", round, 0, kRoundMax));
  return RoundId{round};
}

absl::StatusOr<TaskKind> FieldCheck::Kind(pb::TaskKind kind) const {
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

absl::StatusOr<Digest> FieldCheck::Sha256(absl::string_view field,
                                          absl::string_view wire) const {
  FG_RETURN_IF_ERROR(Size(field, wire.size(), 32, 32));
  return Digest::FromWire({wire.data(), wire.size()});
}

pb::TaskKind ToWire(TaskKind kind) {
  return static_cast<pb::TaskKind>(kind);  // the same numbers
}

std::string ToWire(const Bytes& bytes) { return std::string(AsText(bytes)); }

uint32_t ToMilliseconds(absl::Duration duration) {
  const int64_t ms = absl::ToInt64Milliseconds(duration);
  FG_CHECK(ms >= 0 && ms <= UINT32_MAX);
  return static_cast<uint32_t>(ms);
}

}  // namespace fedgraft
