#pragma once

#include <functional>
#include <utility>

#include "client/agent/callback_guard.h"
#include "client/agent/local_trainer.h"
#include "common/base/digest.h"

namespace fedgraft {

// The trainer, configured for one run and kept so: a trainer that died or hung
// is configured anew and the call repeated, up to kRetriesMax times, so that a
// crash costs time and not the task. Single-strand, one call at a time.
class ConfiguredTrainer {
 public:
  static constexpr int kRetriesMax = 3;

  explicit ConfiguredTrainer(LocalTrainer& trainer) : trainer_(trainer) {}

  // Every (re)configuration must derive `layout`: FAILED_PRECONDITION naming
  // both digests otherwise. UNAVAILABLE: failed after all retries. Other codes
  // are the trainer's own.
  void Open(TrainerSetup setup, Digest layout, Reply<TrainerReady> reply);
  // REQUIRES: Open answered OK. Errors as of Open; CANCELLED after Cancel.
  void Train(TrainRequest request, LocalTrainer::Progress progress,
             Reply<TrainResult> reply);
  void Evaluate(EvaluateRequest request, LocalTrainer::Progress progress,
                Reply<EvaluateResult> reply);
  void Solve(SolveRequest request, LocalTrainer::Progress progress,
             Reply<SolveResult> reply);
  void Gather(GatherRequest request, LocalTrainer::Progress progress,
              Reply<GatherResult> reply);
  void Sketch(SketchRequest request, LocalTrainer::Progress progress,
              Reply<SketchResult> reply);
  void Cancel();

 private:
  template <typename T>
  using Call = std::function<void(Reply<T>)>;

  void Configure(Reply<TrainerReady> reply);
  template <typename Request, typename T>
  void Begin(void (LocalTrainer::*method)(Request, LocalTrainer::Progress,
                                          Reply<T>),
             Request request, LocalTrainer::Progress progress, Reply<T> reply);
  // Runs `call` on a configured trainer. `retries`: how many are left.
  template <typename T>
  void Run(Call<T> call, int retries, Reply<T> reply);

  LocalTrainer& trainer_;
  TrainerSetup setup_;
  Digest layout_;
  TrainerReady ready_;
  bool configured_ = false;
  bool cancelled_ = false;
  CallbackGuard guard_;
};

}  // namespace fedgraft
