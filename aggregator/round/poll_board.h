#pragma once

#include <functional>
#include <map>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"
#include "common/runtime/scheduler.h"

namespace fedgraft {

// NextTask calls that wait for something to tell. At most one per site: a newer
// one answers the older with WaitMore. Answers leave the board before they are
// given, so that a reply may call back. Single-strand.
class PollBoard {
 public:
  // The longest a call is held, whatever it asks for.
  static constexpr absl::Duration kPollMax = absl::Minutes(10);

  explicit PollBoard(Scheduler& strand) : strand_(strand) {}
  PollBoard(const PollBoard&) = delete;
  PollBoard& operator=(const PollBoard&) = delete;
  // Cancels the timers; calls under way are not answered any more.
  ~PollBoard();

  // `run`: the one that the site believes open. WaitMore after `poll`.
  void Park(const SiteId& site, const RunId& run, absl::Duration poll,
            Reply<NextTaskReply> reply);
  // No effect if the site has no call here.
  void Answer(const SiteId& site, absl::StatusOr<NextTaskReply> answer);
  // Answers every call for which `decide` has something to tell.
  void AnswerAll(const std::function<std::optional<NextTaskReply>(
                     const SiteId&, const RunId&)>& decide);

 private:
  struct Call {
    RunId run;
    TimerId timer = 0;
    Reply<NextTaskReply> reply;
  };

  Scheduler& strand_;
  std::map<SiteId, Call> parked_;
};

}  // namespace fedgraft
