#include "client/agent/configured_trainer.h"

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace fedgraft {

void ConfiguredTrainer::Open(TrainerSetup setup, Digest layout,
                             Reply<TrainerReady> reply) {
  setup_ = std::move(setup);
  layout_ = layout;
  configured_ = false;
  cancelled_ = false;
  Run<TrainerReady>([this](Reply<TrainerReady> done) { done(ready_); },
                    kRetriesMax, std::move(reply));
}

template <typename Request, typename T>
void ConfiguredTrainer::Begin(
    void (LocalTrainer::*method)(Request, LocalTrainer::Progress, Reply<T>),
    Request request, LocalTrainer::Progress progress, Reply<T> reply) {
  cancelled_ = false;
  Run<T>(
      [this, method, request = std::move(request),
       progress = std::move(progress)](Reply<T> done) {
        (trainer_.*method)(request, progress, std::move(done));
      },
      kRetriesMax, std::move(reply));
}

void ConfiguredTrainer::Train(TrainRequest request,
                              LocalTrainer::Progress progress,
                              Reply<TrainResult> reply) {
  Begin(&LocalTrainer::Train, std::move(request), std::move(progress),
        std::move(reply));
}

void ConfiguredTrainer::Evaluate(EvaluateRequest request,
                                 LocalTrainer::Progress progress,
                                 Reply<EvaluateResult> reply) {
  Begin(&LocalTrainer::Evaluate, std::move(request), std::move(progress),
        std::move(reply));
}

void ConfiguredTrainer::Solve(SolveRequest request,
                              LocalTrainer::Progress progress,
                              Reply<SolveResult> reply) {
  Begin(&LocalTrainer::Solve, std::move(request), std::move(progress),
        std::move(reply));
}

void ConfiguredTrainer::Gather(GatherRequest request,
                               LocalTrainer::Progress progress,
                               Reply<GatherResult> reply) {
  Begin(&LocalTrainer::Gather, std::move(request), std::move(progress),
        std::move(reply));
}

void ConfiguredTrainer::Sketch(SketchRequest request,
                               LocalTrainer::Progress progress,
                               Reply<SketchResult> reply) {
  Begin(&LocalTrainer::Sketch, std::move(request), std::move(progress),
        std::move(reply));
}

void ConfiguredTrainer::Cancel() {
  cancelled_ = true;
  trainer_.Cancel();
}

void ConfiguredTrainer::Configure(Reply<TrainerReady> reply) {
  trainer_.Configure(
      setup_, guard_([this, reply = std::move(reply)](
                         absl::StatusOr<TrainerReady> ready) {
        if (ready.ok() && ready->layout != layout_) {
          return reply(absl::FailedPreconditionError(absl::StrCat(
              "the trainer derives the trainable set ", ready->layout.Short(),
              " from plan and backbone, the run's model has ",
              layout_.Short())));
        }
        if (ready.ok()) {
          configured_ = true;
          ready_ = *ready;
        }
        reply(std::move(ready));
      }));
}

template <typename T>
void ConfiguredTrainer::Run(Call<T> call, int retries, Reply<T> reply) {
  // What to do with a failure of either step.
  auto fail = [this, call, retries, reply](absl::Status status) {
    configured_ =
        false;  // a trainer that failed is not trusted to be as it was
    if (cancelled_) return reply(absl::CancelledError("task was given up"));
    if (!absl::IsUnavailable(status) || retries == 0) return reply(status);
    FG_LOG_WARNING("trainer failed and is started again ({} retries left): {}",
                   retries, status.ToString());
    Run<T>(call, retries - 1, reply);
  };
  auto run = [this, call, fail, reply] {
    call(guard_([fail, reply](absl::StatusOr<T> result) {
      if (!result.ok()) return fail(std::move(result).status());
      reply(std::move(result));
    }));
  };
  if (configured_) return run();
  Configure([run, fail](absl::StatusOr<TrainerReady> ready) {
    if (!ready.ok()) return fail(std::move(ready).status());
    run();
  });
}

}  // namespace fedgraft
