#pragma once

#include <cstdint>
#include <memory>

#include "aggregator/net/peer_authenticator.h"
#include "aggregator/net/refusal_counter.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/store/spool.h"
#include "common/runtime/scheduler.h"
#include "grpcpp/support/server_callback.h"
#include "proto/federation.pb.h"

namespace fedgraft {

struct UploadPorts {
  Coordinator& coordinator;
  Scheduler& strand;
  const PeerAuthenticator& authenticator;
  RefusalCounter& refusals;
};

// One Submit stream. Life: authenticate → header → BeginUpload (strand) →
// append chunks (here, off the strand) → half-close → FinishUpload (strand) →
// receipt. Deletes itself in OnDone. A stream that breaks leaves what arrived
// in the spool, for the site to resume.
class UploadReactor final : public grpc::ServerReadReactor<pb::SubmitChunk> {
 public:
  UploadReactor(UploadPorts ports, grpc::CallbackServerContext* context,
                pb::UploadReceipt* receipt);

  void OnReadDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  void Begin();
  void AppendChunk();
  void Complete();
  void Fail(const absl::Status& status);
  // The aggregator's answer about the upload.
  void Answer(const absl::Status& status);
  void TellMoved();

  Coordinator& coordinator_;
  Scheduler& strand_;
  const PeerAuthenticator& authenticator_;
  RefusalCounter& refusals_;
  grpc::CallbackServerContext* const context_;
  pb::UploadReceipt* const receipt_;
  pb::SubmitChunk chunk_;
  SitePeer peer_;
  UploadHeader header_;
  std::shared_ptr<SpoolUpload> upload_;
  uint64_t unreported_bytes_ = 0;
};

}  // namespace fedgraft
