#pragma once

#include "client/agent/agent_ports.h"
#include "client/agent/blob_fetcher.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// Brings a finished run home: its final model into final.safetensors, then the
// marker, then the sealed updates of the run are removed. Single-strand.
class RunFinisher {
 public:
  RunFinisher(AgentPorts ports, BlobFetcher& fetcher,
              uint64_t blob_size_bytes_max)
      : ports_(ports),
        fetcher_(fetcher),
        blob_size_bytes_max_(blob_size_bytes_max) {}

  // After an error nothing is marked, and Finish may be called again.
  void Finish(const RunFinished& finished, Reply<Done> reply);

 private:
  absl::Status Mark(const RunFinished& finished);

  AgentPorts ports_;
  BlobFetcher& fetcher_;
  const uint64_t blob_size_bytes_max_;
  CallbackGuard guard_;
};

}  // namespace fedgraft
