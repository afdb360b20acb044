#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "common/runtime/executor.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// Work on the executor whose result comes back to the strand, and the means to
// wait until none is left. Single-strand but for the work itself.
class Background {
 public:
  Background(Executor& executor, Scheduler& strand)
      : executor_(executor),
        strand_(strand),
        state_(std::make_shared<State>()) {}

  // `work` runs on the executor and must own or share all it uses; `then`
  // gets its result on the strand.
  template <typename Work, typename Then>
  void Run(Work work, Then then) {
    using Result = std::invoke_result_t<Work>;
    ++state_->running;
    executor_.Run([&strand = strand_, state = state_, work = std::move(work),
                   then = std::move(then)]() mutable {
      // Shared: std::function wants copyable closures, results are not.
      auto result = std::make_shared<Result>(work());
      strand.Dispatch([state, result, then = std::move(then)]() mutable {
        then(std::move(*result));
        if (--state->running == 0 && state->idle) {
          std::exchange(state->idle, nullptr)();
        }
      });
    });
  }

  // `idle` runs on the strand once no work is left.
  void WhenIdle(std::function<void()> idle) {
    if (state_->running == 0) {
      strand_.Post(std::move(idle));
    } else {
      state_->idle = std::move(idle);
    }
  }

 private:
  // Outlives the owner, for work that is under way.
  struct State {
    int running = 0;
    std::function<void()> idle;
  };
  Executor& executor_;
  Scheduler& strand_;
  std::shared_ptr<State> state_;
};

}  // namespace fedgraft
