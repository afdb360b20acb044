// Every message of proto/federation.proto that FromWire takes. The first byte
// of the input says which, the rest is its serialised form.

#include <iterator>

#include "common/protocol/codec.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace fedgraft {
namespace {

// What FromWire accepts must come out of ToWire such that it is accepted again
// and means the same.
template <typename Wire>
void Run(ByteSpan bytes) {
  Wire wire;
  if (!wire.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return;
  }
  const auto message = FromWire(wire);
  if (!message.ok()) {
    fuzz::CheckRefusal(message.status(), absl::StatusCode::kInvalidArgument);
    return;
  }
  ++fuzz::accepted;
  const Wire once = ToWire(*message);
  const auto again = FromWire(once);
  FG_CHECK(again.ok());
  FG_CHECK(ToWire(*again).ByteSizeLong() == once.ByteSizeLong());
}

void RunRefusal(ByteSpan bytes) {
  pb::Refusal wire;
  if (!wire.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return;
  }
  const absl::Status status = RefusalFromWire(wire);
  FG_CHECK(!status.ok());
  if (RefusalOf(status)) {
    FG_CHECK(RefusalToWire(status).has_value());
  } else {
    fuzz::CheckRefusal(status, absl::StatusCode::kInvalidArgument);
  }
}

// The order is part of the corpus: add at the end.
constexpr void (*kMessages[])(ByteSpan) = {
    Run<pb::JoinRequest>,      Run<pb::RunDescriptor>,
    Run<pb::JoinReply>,        Run<pb::Task>,
    Run<pb::NextTaskRequest>,  Run<pb::NextTaskReply>,
    Run<pb::HeartbeatRequest>, Run<pb::UploadHeader>,
    Run<pb::UploadReceipt>,    Run<pb::UploadOffsetReply>,
    Run<pb::SiteReport>,       RunRefusal};

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  if (size == 0) return 0;
  // It would tell of every string that is not UTF-8.
  const google::protobuf::LogSilencer silencer;
  kMessages[data[0] % std::size(kMessages)](ByteSpan(data + 1, size - 1));
  return 0;
}
