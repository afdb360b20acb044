#include "aggregator/net/blob_reactor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/digest.h"
#include "common/net/grpc/status_bridge.h"

namespace fedgraft {
namespace {

constexpr uint64_t kChunkBytes = 512 * 1024;

}  // namespace

BlobReactor::BlobReactor(Coordinator& coordinator, Scheduler& strand,
                         const PeerAuthenticator& authenticator,
                         grpc::CallbackServerContext* context,
                         const pb::FetchBlobRequest& request)
    : coordinator_(coordinator),
      strand_(strand),
      authenticator_(authenticator),
      context_(context),
      offset_(request.offset()) {
  absl::StatusOr<SitePeer> peer =
      authenticator_.Site(*context_->auth_context());
  const absl::StatusOr<Digest> digest = Digest::FromWire(request.sha256());
  if (!peer.ok() || !digest.ok()) {
    Finish(ToGrpc(peer.ok() ? digest.status() : peer.status()));
    return;
  }
  peer_ = *std::move(peer);
  strand_.Post([this, digest = *digest] {
    coordinator_.OpenBlob(
        peer_, digest,
        [this](absl::StatusOr<std::shared_ptr<ReadableFile>> blob) {
          if (!blob.ok()) {
            Finish(ToGrpc(blob.status()));
            return;
          }
          blob_ = *std::move(blob);
          WriteNext();
        });
  });
}

void BlobReactor::OnWriteDone(bool ok) {
  if (!ok) {
    Finish(ToGrpc(absl::CancelledError("the site went away")));
    return;
  }
  sent_bytes_ += chunk_.data().size();
  WriteNext();
}

void BlobReactor::WriteNext() {
  const uint64_t size = blob_->size_bytes();
  if (offset_ > size) {
    Finish(ToGrpc(absl::OutOfRangeError(absl::StrCat(
        "offset ", offset_, " is beyond the blob's ", size, " bytes"))));
    return;
  }
  if (offset_ == size) {
    Finish(grpc::Status::OK);
    return;
  }
  if (const auto peer = authenticator_.Site(*context_->auth_context());
      !peer.ok()) {
    Finish(ToGrpc(peer.status()));
    return;
  }
  std::string& data = *chunk_.mutable_data();
  data.resize(std::min(kChunkBytes, size - offset_));
  const absl::Status status = blob_->ReadAt(
      offset_,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(data.data()), data.size()));
  if (!status.ok()) {
    Finish(ToGrpc(status));
    return;
  }
  offset_ += data.size();
  StartWrite(&chunk_);
}

void BlobReactor::OnDone() {
  strand_.Post([&coordinator = coordinator_, peer = std::move(peer_),
                bytes = sent_bytes_] { coordinator.Sent(peer, bytes); });
  delete this;
}

}  // namespace fedgraft
