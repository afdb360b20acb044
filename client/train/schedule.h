#pragma once

#include <cstdint>
#include <vector>

#include "common/config/plan.h"

// What changes from round to round and epoch to epoch, as pure functions of
// the plan, so that a task done again gives the same bytes.

namespace fedgraft {

// Learning rate of round `round` (from 1) of plan.rounds. Warm-up rounds rise
// linearly and reach the full rate right after the last of them; the schedule
// then runs over the rounds that remain. `cosine` ends just above 0.
double LearningRate(const Plan& plan, int round);

// Batches of one local epoch (from 0): image indices 0..count-1 shuffled by
// (plan.seed, round, epoch). A last batch of one image joins the batch before
// it: BatchNorm cannot train on a single image.
std::vector<std::vector<int64_t>> EpochBatches(const Plan& plan, int round,
                                               int epoch, int64_t count);

// The same for images with these labels, by the plan's sampling. `balanced`:
// as many draws as images, of every class that is there as many (one more for
// some, by chance), and within a class of every image as many.
std::vector<std::vector<int64_t>> EpochBatches(
    const Plan& plan, int round, int epoch, const std::vector<int64_t>& labels);

}  // namespace fedgraft
