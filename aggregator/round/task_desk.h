#pragma once

#include <optional>

#include "aggregator/round/coordinator.h"
#include "aggregator/round/round_context.h"
#include "common/protocol/messages.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// What sites ask that is not an upload: to join, for work, whether the work is
// still wanted. Single-strand; part of the Coordinator.
class TaskDesk {
 public:
  // `context` outlives the desk.
  explicit TaskDesk(RoundContext& context) : context_(context) {}

  void Join(const SitePeer& site, const JoinRequest& request,
            Reply<JoinReply> reply);
  void NextTask(const SitePeer& site, const NextTaskRequest& request,
                Reply<NextTaskReply> reply);
  // Answers true if the aggregator no longer wants the task.
  void Heard(const SitePeer& site, const Heartbeat& heartbeat,
             Reply<bool> cancel);
  void Report(const SitePeer& site, const SiteReport& report,
              Reply<Done> reply);
  // Answers the parked calls for which there is something now.
  void AnswerPolls();

 private:
  JoinReply DescribeRun() const;
  std::optional<NextTaskReply> Decide(const SiteId& site, const RunId& run);
  Task MakeTask(const SiteId& site) const;
  void Decline(const SitePeer& site, const SiteReport& report);
  // After a report, if the plan applies remedies.
  void ChooseRemediesAgain();

  RoundContext& context_;
  // The newest choice, while it is journalled, and how many there were.
  std::optional<RemediesChosen> choosing_;
  uint64_t choices_ = 0;
};

}  // namespace fedgraft
