#pragma once

#include <memory>

#include "client/agent/agent.h"
#include "client/agent/blob_fetcher.h"
#include "client/agent/configured_trainer.h"
#include "client/agent/run_context.h"

namespace fedgraft {

struct PreparedRun {
  std::shared_ptr<const RunContext> context;
  TrainerReady trainer;
};

// From a run's descriptor to a trainer that is ready for its tasks: verify,
// ask the site's policy, fetch backbone and initial model, configure the
// trainer, count the images. Nothing of the site has left by then.
//
// Single-strand, one preparation at a time.
class RunSetup {
 public:
  // All referenced outlive the object.
  RunSetup(AgentPorts ports, const AgentOptions& options,
           AggregatorKeyOf aggregator_key, Background& background,
           BlobFetcher& fetcher, ConfiguredTrainer& trainer);

  // IsFinal errors mean that this site cannot or may not take part in the run;
  // after others Prepare may be tried again and goes on where it stopped.
  void Prepare(RunDescriptor descriptor, Reply<PreparedRun> reply);
  // Whatever is under way does not answer any more.
  void Abandon() {
    guard_.Invalidate();
    reply_ = nullptr;
  }
  static bool IsFinal(const absl::Status& status);

 private:
  absl::Status Verify();
  // Whether people here have pinned one, of whatever sites.
  absl::StatusOr<bool> HasRoster() const;
  // Secure aggregation needs the other sites' keys as people here know them.
  absl::Status CheckRoster() const;
  void FetchBackbone();
  void FetchInitialModel();
  void ReadLayout();
  void ConfigureTrainer();
  void OnReady(absl::StatusOr<TrainerReady> ready);
  void Answer(absl::StatusOr<PreparedRun> answer);

  AgentPorts ports_;
  const AgentOptions& options_;
  AggregatorKeyOf aggregator_key_;
  Background& background_;
  BlobFetcher& fetcher_;
  ConfiguredTrainer& trainer_;
  CallbackGuard guard_;
  std::shared_ptr<RunContext> context_;
  RunDescriptor descriptor_;
  Reply<PreparedRun> reply_;  // null: idle
};

}  // namespace fedgraft
