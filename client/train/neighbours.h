#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace fedgraft {

struct NeighbourScore {
  double accuracy = 0;
  double balanced_accuracy = 0;  // mean recall of the classes with records
};

// How often a record's `k` nearest others (fewer if there are fewer), by
// cosine similarity, vote for its class; of classes with equal votes the one
// with the nearest neighbour wins. `features` [n, d] F64 on the CPU, `labels`
// [n] from 0. FAILED_PRECONDITION: fewer than 2 records. O(n² d).
absl::StatusOr<NeighbourScore> LeaveOneOutNeighbours(
    const torch::Tensor& features, const std::vector<int64_t>& labels, int k);

}  // namespace fedgraft
