#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/protocol/messages.h"
#include "proto/federation.pb.h"

// What the codecs of all messages share.

namespace fedgraft {

// Builds the errors of one message: "Task.round: expected …, got …".
class FieldCheck {
 public:
  explicit FieldCheck(absl::string_view message) : message_(message) {}

  absl::Status Wrong(absl::string_view field, absl::string_view expected,
                     absl::string_view got) const;
  absl::Status Between(absl::string_view field, uint64_t value, uint64_t min,
                       uint64_t max) const;
  absl::Status Size(absl::string_view field, size_t size, size_t min,
                    size_t max) const;
  // 1 to `max` printable ASCII characters (0 if `may_be_empty`).
  absl::Status Text(absl::string_view field, absl::string_view text, size_t max,
                    bool may_be_empty = false) const;
  absl::StatusOr<RunId> Run(absl::string_view run,
                            bool may_be_empty = false) const;
  absl::StatusOr<RoundId> Round(uint32_t round) const;
  absl::StatusOr<TaskKind> Kind(pb::TaskKind kind) const;
  absl::StatusOr<Digest> Sha256(absl::string_view field,
                                absl::string_view wire) const;

 private:
  absl::string_view message_;
};

pb::TaskKind ToWire(TaskKind kind);
std::string ToWire(const Bytes& bytes);
// REQUIRES: from 0 to 2^32 - 1.
uint32_t ToMilliseconds(absl::Duration duration);

}  // namespace fedgraft
