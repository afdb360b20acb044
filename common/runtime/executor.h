#pragma once

#include <functional>

namespace fedgraft {

// Port: heavy work off the strand. Thread-safe.
class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` on some worker. To come back, `work` posts to the Scheduler.
  virtual void Run(std::function<void()> work) = 0;
  // How many workers; at least 1. Used to choose shard counts, which never
  // change a result.
  virtual int Workers() const = 0;
};

}  // namespace fedgraft
