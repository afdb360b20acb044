#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/protocol/messages.h"
#include "proto/federation.pb.h"

// Domain messages <-> proto/federation.proto. FromWire trusts nothing: every
// size, range, enum and number is checked, and INVALID_ARGUMENT names the
// message, the field, what was expected and what came. ToWire expects valid
// messages; what it produces always passes FromWire then.

namespace fedgraft {

// Limits of what may be on the wire.
inline constexpr size_t kRunIdBytesMax = 64;
inline constexpr uint32_t kRoundMax = 100000;
inline constexpr size_t kPlanBytesMax = size_t{1} << 20;
inline constexpr size_t kInlineModelBytesMax = size_t{1} << 20;
inline constexpr size_t kCertificateBytesMax = size_t{64} << 10;
inline constexpr uint64_t kBlobBytesMax = uint64_t{1} << 40;
inline constexpr size_t kCapabilitiesMax = 64;
inline constexpr size_t kScalarsMax = 1024;
inline constexpr size_t kNameBytesMax = 128;
inline constexpr size_t kRefusalDetailBytesMax = 1024;
inline constexpr size_t kSecurePayloadBytesMax = size_t{1} << 20;
inline constexpr uint32_t kSecureAttemptMax = 1000000;
inline constexpr absl::Duration kPollMax = absl::Minutes(10);

pb::JoinRequest ToWire(const JoinRequest& message);
absl::StatusOr<JoinRequest> FromWire(const pb::JoinRequest& wire);

pb::RunDescriptor ToWire(const RunDescriptor& message);
absl::StatusOr<RunDescriptor> FromWire(const pb::RunDescriptor& wire);

// The reply carries this build's protocol version; FromWire refuses another.
pb::JoinReply ToWire(const JoinReply& message);
absl::StatusOr<JoinReply> FromWire(const pb::JoinReply& wire);

pb::Task ToWire(const Task& message);
absl::StatusOr<Task> FromWire(const pb::Task& wire);

// The run may be empty: a site that knows none yet.
pb::NextTaskRequest ToWire(const NextTaskRequest& message);
absl::StatusOr<NextTaskRequest> FromWire(const pb::NextTaskRequest& wire);

pb::NextTaskReply ToWire(const NextTaskReply& message);
absl::StatusOr<NextTaskReply> FromWire(const pb::NextTaskReply& wire);

pb::HeartbeatRequest ToWire(const Heartbeat& message);
absl::StatusOr<Heartbeat> FromWire(const pb::HeartbeatRequest& wire);

pb::UploadHeader ToWire(const UploadHeader& message);
absl::StatusOr<UploadHeader> FromWire(const pb::UploadHeader& wire);

pb::UploadReceipt ToWire(const UploadReceipt& message);
absl::StatusOr<UploadReceipt> FromWire(const pb::UploadReceipt& wire);

pb::UploadOffsetReply ToWire(const UploadOffset& message);
absl::StatusOr<UploadOffset> FromWire(const pb::UploadOffsetReply& wire);

pb::SecureAnswer ToWire(const SecureAnswer& message);
absl::StatusOr<SecureAnswer> FromWire(const pb::SecureAnswer& wire);

pb::SiteReport ToWire(const SiteReport& message);
absl::StatusOr<SiteReport> FromWire(const pb::SiteReport& wire);

// nullopt unless RefusalOf(status). The detail is cut to its limit and its
// bytes outside printable ASCII are replaced: it may quote hostile input.
std::optional<pb::Refusal> RefusalToWire(const absl::Status& status);
// The RefusalError that was sent. INVALID_ARGUMENT without a reason if the
// reason is not known or the detail is too long.
absl::Status RefusalFromWire(const pb::Refusal& wire);

}  // namespace fedgraft
