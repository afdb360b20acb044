#pragma once

#include <functional>
#include <memory>
#include <string>

#include "client/agent/aggregator_link.h"
#include "common/runtime/scheduler.h"
#include "tests/simulation/sim_network.h"

namespace fedgraft::testing {

// A site's end of the simulated network: domain messages to bytes and back,
// answers on the site's strand. Dies with the site's process; answers that
// come later are dropped.
class SimLink : public AggregatorLink {
 public:
  // `said` is told of each step of secure aggregation that the site answers,
  // whether the answer arrives or not.
  using Said = std::function<void(const SiteId&, const SecureAnswer&)>;
  SimLink(SimNetwork* network, Scheduler* strand, SitePeer peer, Said said)
      : network_(*network),
        strand_(*strand),
        peer_(std::move(peer)),
        said_(std::move(said)) {}

  void Join(JoinRequest request, Reply<JoinReply> reply) override;
  void NextTask(NextTaskRequest request, Reply<NextTaskReply> reply) override;
  void SendHeartbeat(Heartbeat heartbeat, Reply<bool> reply) override;
  void FetchBlob(Digest digest, uint64_t offset,
                 std::function<absl::Status(ByteSpan)> sink,
                 Reply<Done> reply) override;
  void QueryUpload(UploadHeader header, Reply<UploadOffset> reply) override;
  void Submit(UploadHeader header, uint64_t offset,
              std::shared_ptr<ReadableFile> sealed,
              Reply<UploadReceipt> reply) override;
  void Report(SiteReport report, Reply<Done> reply) override;
  void AnswerStep(SecureAnswer answer, Reply<Done> reply) override;

 private:
  // Decodes with FromWire(Wire) and replies on the strand.
  template <typename Wire, typename Value>
  SimNetwork::Answer Decoded(Reply<Value> reply);
  // Runs `then` on the strand unless the process has died.
  SimNetwork::Answer OnStrand(std::function<void(const WireAnswer&)> then);

  SimNetwork& network_;
  Scheduler& strand_;
  const SitePeer peer_;
  const Said said_;
  const std::shared_ptr<void> alive_ = std::make_shared<char>();
};

}  // namespace fedgraft::testing
