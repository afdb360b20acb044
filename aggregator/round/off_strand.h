#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/runtime/executor.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// Sends heavy work to the executor and brings its result back to the strand.
// What comes back after the OffStrand was destroyed is dropped, so `then` may
// use its owner freely; `work` runs on another thread and holds only what it
// owns. Single-strand.
class OffStrand {
 public:
  OffStrand(Executor& executor, Scheduler& strand)
      : executor_(executor), strand_(strand) {}
  OffStrand(const OffStrand&) = delete;
  OffStrand& operator=(const OffStrand&) = delete;

  template <typename Result>
  void Run(std::function<Result()> work, std::function<void(Result)> then) {
    Begin<Result>([work = std::move(work)](auto done) { done(work()); },
                  std::move(then));
  }

  // For work that goes on on other workers: `work` calls `done` once, on any.
  template <typename Result>
  void Begin(std::function<void(std::function<void(Result)> done)> work,
             std::function<void(Result)> then) {
    executor_.Run([&strand = strand_, alive = std::weak_ptr<void>(alive_),
                   work = std::move(work), then = std::move(then)]() mutable {
      // What `work` owns is released before the strand goes on.
      std::exchange(work, nullptr)(
          [&strand, alive, then = std::move(then)](Result result) {
            auto box = std::make_shared<Result>(std::move(result));
            strand.Dispatch([alive, box, then] {
              if (!alive.expired()) then(std::move(*box));
            });
          });
    });
  }

 private:
  Executor& executor_;
  Scheduler& strand_;
  const std::shared_ptr<void> alive_ = std::make_shared<char>();
};

}  // namespace fedgraft
