#pragma once

#include <functional>
#include <memory>
#include <string>

#include "aggregator/round/coordinator.h"
#include "aggregator/round/round_context.h"
#include "aggregator/round/round_flow.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// What operators ask: to start, stop and pause runs. Single-strand; part of the
// Coordinator.
class RunDesk {
 public:
  // Both outlive the desk.
  RunDesk(RoundContext& context, RoundFlow& flow)
      : context_(context), flow_(flow) {}

  void Start(const Plan& plan, RunModel model, Reply<RunId> reply);
  void Stop(const RunId& run, std::string reason, Reply<Done> reply);
  void Pause(const RunId& run, bool paused, Reply<Done> reply);

 private:
  struct Prepared {
    RunOpened record;
    std::shared_ptr<const RunKey> key;
  };
  static absl::StatusOr<Prepared> Prepare(const Plan& plan, RunModel model,
                                          RunId run, ByteSpan wrapping_key,
                                          const SigningKey& signing_key,
                                          uint64_t inline_bytes_max,
                                          RandomSource& random,
                                          BlobStore& blobs);
  void Open(absl::StatusOr<Prepared> prepared, Reply<RunId> reply);
  absl::Status CheckOpen(const RunId& run) const;

  RoundContext& context_;
  RoundFlow& flow_;
};

}  // namespace fedgraft
