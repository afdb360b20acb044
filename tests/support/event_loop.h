#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>

#include "absl/time/time.h"
#include "tests/support/sim_random.h"

namespace fedgraft::testing {

// Simulated time: one queue of events that everything simulated shares. An
// event runs at its time, and time stands still while it runs. Events of one
// time run in the order in which they were scheduled or, with a tie seed, in a
// seeded order.
//
// The trace hash covers the time of every event that ran and all that Trace()
// was told: two runs with equal hashes did the same. Single-threaded.
class EventLoop {
 public:
  using EventId = uint64_t;

  EventLoop() = default;
  // Breaks ties in an order drawn from `tie_seed`.
  explicit EventLoop(uint64_t tie_seed) : ties_(SimRandom(tie_seed)) {}
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Monotonic; starts at Start().
  absl::Time now() const { return now_; }
  static absl::Time Start() { return absl::UnixEpoch() + absl::Hours(1); }

  // Never returns 0. A negative delay counts as none.
  EventId Schedule(absl::Duration delay, std::function<void()> event);
  // No effect if it ran already.
  void Cancel(EventId id);

  // Runs the next event; false if there is none.
  bool RunOne();
  // Runs all events up to and including `end`, then sets the time to it.
  void RunUntil(absl::Time end);
  void RunFor(absl::Duration duration) { RunUntil(now_ + duration); }
  // Runs until `condition` holds, looking after each event. False if it does
  // not hold within `limit` or nothing is left to run.
  bool RunUntilTrue(const std::function<bool()>& condition,
                    absl::Duration limit);
  // Runs until nothing is scheduled; false if `events_max` were not enough.
  bool RunUntilIdle(uint64_t events_max = 1'000'000);

  size_t pending() const { return events_.size(); }
  uint64_t events_run() const { return events_run_; }

  // Called after each event: for invariants.
  void SetAfterEvent(std::function<void()> hook) {
    after_event_ = std::move(hook);
  }
  // Adds to the trace hash.
  void Trace(std::string_view what);
  void Trace(uint64_t value);
  uint64_t trace_hash() const { return trace_hash_; }

 private:
  struct Key {
    absl::Time time;
    uint64_t tie;
    EventId id;
    auto operator<=>(const Key& other) const {
      return std::tie(time, tie, id) <=>
             std::tie(other.time, other.tie, other.id);
    }
  };

  absl::Time now_ = Start();
  std::optional<SimRandom> ties_;
  std::map<Key, std::function<void()>> events_;
  std::map<EventId, Key> keys_;
  EventId last_id_ = 0;
  uint64_t events_run_ = 0;
  std::function<void()> after_event_;
  uint64_t trace_hash_ = 0xcbf29ce484222325;
};

}  // namespace fedgraft::testing
