#pragma once

#include <cstdint>
#include <memory>

#include "aggregator/net/peer_authenticator.h"
#include "aggregator/round/coordinator.h"
#include "common/runtime/scheduler.h"
#include "grpcpp/support/server_callback.h"
#include "proto/federation.pb.h"

namespace fedgraft {

// One FetchBlob stream: backbone or model bytes from an offset, in chunks of
// 512 KiB, read off the strand. Deletes itself in OnDone.
class BlobReactor final : public grpc::ServerWriteReactor<pb::BlobChunk> {
 public:
  BlobReactor(Coordinator& coordinator, Scheduler& strand,
              const PeerAuthenticator& authenticator,
              grpc::CallbackServerContext* context,
              const pb::FetchBlobRequest& request);

  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  void WriteNext();

  Coordinator& coordinator_;
  Scheduler& strand_;
  const PeerAuthenticator& authenticator_;
  grpc::CallbackServerContext* const context_;
  SitePeer peer_;
  std::shared_ptr<ReadableFile> blob_;
  uint64_t offset_ = 0;
  uint64_t sent_bytes_ = 0;
  pb::BlobChunk chunk_;
};

}  // namespace fedgraft
