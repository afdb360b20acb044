#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "common/protocol/reply.h"

namespace fedgraft {

// Whoever called waits for an answer (a transport cannot end before it). The
// returned reply answers UNAVAILABLE by itself when its last copy is destroyed
// unanswered, as when the coordinator ends with work under way.
template <typename T>
Reply<T> AnswerAlways(Reply<T> reply) {
  struct Pending {
    explicit Pending(Reply<T> reply) : reply(std::move(reply)) {}
    ~Pending() {
      if (reply) reply(absl::UnavailableError("the aggregator is stopping"));
    }
    Reply<T> reply;
  };
  return [pending = std::make_shared<Pending>(std::move(reply))](
             absl::StatusOr<T> value) {
    if (pending->reply == nullptr) return;
    std::exchange(pending->reply, nullptr)(std::move(value));
  };
}

}  // namespace fedgraft
