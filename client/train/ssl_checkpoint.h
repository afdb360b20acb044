#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/digest.h"

// The state of self-supervised training between two steps, as a safetensors
// file.

namespace fedgraft {

struct SslCheckpoint {
  Digest task;  // of everything that determines the result
  int64_t step = 0;
  double loss_sum = 0;               // of the epoch's steps so far
  std::vector<double> epoch_losses;  // means of the finished epochs
};

// Atomic: afterwards the old or the new content is there.
absl::Status WriteCheckpoint(
    const std::string& path, const SslCheckpoint& checkpoint,
    const std::map<std::string, torch::Tensor>& tensors);

// Copies the file's values into `tensors` (by name, which share storage with
// whatever is trained). NOT_FOUND: there is no file; FAILED_PRECONDITION: it is
// of another task; INVALID_ARGUMENT: no checkpoint, or tensors that do not fit.
// Nothing is copied then.
absl::StatusOr<SslCheckpoint> ReadCheckpoint(
    const std::string& path, const Digest& task,
    const std::map<std::string, torch::Tensor>& tensors);

}  // namespace fedgraft
