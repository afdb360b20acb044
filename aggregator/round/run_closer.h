#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "aggregator/round/round_context.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// The end of a run: the newest published model into the blob store, for
// whoever exports it (the log is not read for that), then RunClosed.
// Single-strand; part of RoundFlow, which has nothing else under way once
// Begin was called.
class RunCloser {
 public:
  static constexpr absl::Duration kRetryDelay = absl::Seconds(10);

  // `context` outlives the closer. `ended`: called after RunClosed was written
  // or could not be, before those who asked are told.
  RunCloser(RoundContext& context,
            std::function<void(const absl::Status&)> ended)
      : context_(context), ended_(std::move(ended)) {}
  ~RunCloser();
  RunCloser(const RunCloser&) = delete;
  RunCloser& operator=(const RunCloser&) = delete;

  // Asks for the end. False if it was asked for before; `done` (may be null) is
  // called in any case.
  bool Request(bool stopped, std::string reason,
               std::function<void(absl::Status)> done);
  bool requested() const { return ending_.has_value(); }
  // REQUIRES: requested().
  void Begin();

 private:
  struct Ending {
    bool stopped = false;
    std::string reason;
    std::vector<std::function<void(absl::Status)>> done;
  };

  void Stored(const absl::Status& stored);
  void Journalled(const absl::Status& status);
  void RemoveStates();

  RoundContext& context_;
  std::function<void(const absl::Status&)> ended_;
  std::optional<Ending> ending_;
  TimerId retry_ = 0;
};

}  // namespace fedgraft
