#include "aggregator/net/upload_reactor.h"

#include <utility>

#include "common/net/grpc/status_bridge.h"
#include "common/protocol/codec.h"

namespace fedgraft {
namespace {

// Progress is told to the strand this often, and the allow-list asked again.
constexpr uint64_t kReportBytes = uint64_t{1} << 20;

}  // namespace

UploadReactor::UploadReactor(UploadPorts ports,
                             grpc::CallbackServerContext* context,
                             pb::UploadReceipt* receipt)
    : coordinator_(ports.coordinator),
      strand_(ports.strand),
      authenticator_(ports.authenticator),
      refusals_(ports.refusals),
      context_(context),
      receipt_(receipt) {
  absl::StatusOr<SitePeer> peer =
      authenticator_.Site(*context_->auth_context());
  if (!peer.ok()) {
    Finish(ToGrpc(peer.status()));
    return;
  }
  peer_ = *std::move(peer);
  StartRead(&chunk_);
}

void UploadReactor::OnReadDone(bool ok) {
  if (ok && upload_ == nullptr) {
    Begin();
  } else if (ok) {
    AppendChunk();
  } else if (upload_ == nullptr) {
    Finish(ToGrpc(absl::InvalidArgumentError(
        "the upload ended before its first message")));
  } else {
    Fail(absl::CancelledError("the upload ended before its last byte"));
  }
}

void UploadReactor::Begin() {
  absl::StatusOr<UploadHeader> header = FromWire(chunk_.header());
  if (!header.ok()) {
    Finish(ToGrpc(header.status()));
    return;
  }
  header_ = *std::move(header);
  strand_.Dispatch([this] {
    coordinator_.BeginUpload(
        peer_, header_, chunk_.offset(),
        [this](absl::StatusOr<std::shared_ptr<SpoolUpload>> upload) {
          if (!upload.ok()) {
            Answer(upload.status());
            return;
          }
          upload_ = *std::move(upload);
          AppendChunk();
        });
  });
}

void UploadReactor::AppendChunk() {
  if (const absl::Status status = upload_->Append(AsBytes(chunk_.data()));
      !status.ok()) {
    Fail(status);
    return;
  }
  unreported_bytes_ += chunk_.data().size();
  // Whole: there is nothing to read any more but the stream's end.
  if (upload_->offset() == header_.size_bytes) {
    Complete();
    return;
  }
  if (unreported_bytes_ >= kReportBytes) {
    const absl::StatusOr<SitePeer> peer =
        authenticator_.Site(*context_->auth_context());
    if (!peer.ok()) {
      Fail(peer.status());
      return;
    }
    TellMoved();
  }
  chunk_.Clear();
  StartRead(&chunk_);
}

void UploadReactor::Complete() {
  strand_.Dispatch([this] {
    coordinator_.Moved(peer_, std::exchange(unreported_bytes_, 0));
    coordinator_.FinishUpload(peer_, header_, std::move(upload_),
                              [this](absl::StatusOr<UploadReceipt> receipt) {
                                if (receipt.ok()) *receipt_ = ToWire(*receipt);
                                Answer(receipt.status());
                              });
  });
}

void UploadReactor::Answer(const absl::Status& status) {
  refusals_.Count(peer_.id, status);
  Finish(ToGrpc(status));
}

void UploadReactor::Fail(const absl::Status& status) {
  strand_.Post([&coordinator = coordinator_, peer = peer_, header = header_,
                upload = std::move(upload_)] {
    coordinator.AbandonUpload(peer, header, upload);
  });
  Finish(ToGrpc(status));
}

void UploadReactor::TellMoved() {
  const uint64_t bytes = std::exchange(unreported_bytes_, 0);
  strand_.Post([&coordinator = coordinator_, peer = peer_, bytes] {
    coordinator.Moved(peer, bytes);
  });
}

}  // namespace fedgraft
