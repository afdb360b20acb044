#pragma once

#include <functional>

#include "absl/status/statusor.h"

namespace fedgraft {

// How an asynchronous call answers: exactly once, on the caller's strand.
template <typename T>
using Reply = std::function<void(absl::StatusOr<T>)>;

struct Done {};  // the value of calls that only succeed or fail

}  // namespace fedgraft
