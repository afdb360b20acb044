#pragma once

#include "absl/time/time.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

struct BackoffOptions {
  absl::Duration base = absl::Milliseconds(500);
  absl::Duration max = absl::Seconds(30);
};

// Exponential back-off with jitter: the n-th delay is drawn evenly from the
// upper half of min(max, base · 2^n), so that sites that lost the aggregator
// together do not come back together. Single-strand.
class Backoff {
 public:
  Backoff(RandomSource& random, BackoffOptions options)
      : random_(random), options_(options), ceiling_(options.base) {}
  absl::Duration Next();
  void Reset() { ceiling_ = options_.base; }

 private:
  RandomSource& random_;
  BackoffOptions options_;
  absl::Duration ceiling_;
};

}  // namespace fedgraft
