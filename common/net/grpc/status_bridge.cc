#include "common/net/grpc/status_bridge.h"

#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/protocol/codec.h"
#include "proto/federation.pb.h"

namespace fedgraft {
namespace {

constexpr size_t kMessageBytesMax = 1024;

std::string Printable(std::string text) {
  if (text.size() > kMessageBytesMax) text.resize(kMessageBytesMax);
  for (char& c : text) {
    if (absl::ascii_iscntrl(c)) c = ' ';
  }
  return text;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string details;
  if (const std::optional<pb::Refusal> refusal = RefusalToWire(status)) {
    refusal->SerializeToString(&details);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()), details);
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = Printable(status.error_message());
  pb::Refusal refusal;
  if (!status.error_details().empty() &&
      refusal.ParseFromString(status.error_details())) {
    return RefusalFromWire(refusal);
  }
  // The other side's gRPC was short of memory and turned the call away unread.
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
      absl::StartsWith(message, "Received RST_STREAM")) {
    return absl::UnavailableError(
        absl::StrCat("too busy for another call (", message, ")"));
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      message);
}

}  // namespace fedgraft
