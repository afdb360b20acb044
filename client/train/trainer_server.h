#pragma once

#include "absl/status/status.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// The trainer's side of proto/trainer.proto: answers requests on `fd` (a
// stream socket) one after the other until the daemon closes it, which is OK.
//
// A request that cannot be served is answered by TrainerError with its status
// code and the state of before stands; a frame that is no request is answered
// so with id 0. A call whose progress can no longer be sent ends at once.
// Returns INVALID_ARGUMENT (after saying so) or DATA_LOSS if the stream itself
// is broken, UNAVAILABLE if the daemon vanished in the middle of a call.
absl::Status ServeTrainer(int fd, const Clock& clock);

}  // namespace fedgraft
