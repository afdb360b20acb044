#include "aggregator/round/poll_board.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace fedgraft {

PollBoard::~PollBoard() {
  for (const auto& [site, call] : parked_) strand_.Cancel(call.timer);
}

void PollBoard::Park(const SiteId& site, const RunId& run, absl::Duration poll,
                     Reply<NextTaskReply> reply) {
  Answer(site, NextTaskReply(WaitMore{}));
  const TimerId timer =
      strand_.After(std::clamp(poll, absl::ZeroDuration(), kPollMax),
                    [this, site] { Answer(site, NextTaskReply(WaitMore{})); });
  parked_[site] = {run, timer, std::move(reply)};
}

void PollBoard::Answer(const SiteId& site,
                       absl::StatusOr<NextTaskReply> answer) {
  const auto found = parked_.find(site);
  if (found == parked_.end()) return;
  const Call call = std::move(found->second);
  parked_.erase(found);
  strand_.Cancel(call.timer);
  call.reply(std::move(answer));
}

void PollBoard::AnswerAll(const std::function<std::optional<NextTaskReply>(
                              const SiteId&, const RunId&)>& decide) {
  // A reply may change the board: decide on a copy of the keys.
  std::vector<std::pair<SiteId, RunId>> waiting;
  for (const auto& [site, call] : parked_) waiting.emplace_back(site, call.run);
  for (const auto& [site, run] : waiting) {
    if (auto answer = decide(site, run)) Answer(site, *std::move(answer));
  }
}

}  // namespace fedgraft
