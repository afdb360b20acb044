#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/runtime/file_store.h"
#include "common/statistics/gathered_statistics.h"

namespace fedgraft {

// A site's part in the statistics that a run gathers before it trains
// (common/statistics/start_statistics.h): its own sums, and what training takes
// from the sum over all sites, namely class counts and, kept in the site's
// files, EWC's start.
//
// Not thread-safe. May throw c10::Error.
class RunStatistics {
 public:
  // What is given outlives it. `files` may be null unless the plan has EWC.
  // REQUIRES: the plan asks for statistics.
  RunStatistics(const Plan& plan, Learner& learner, FileStore* files)
      : plan_(plan),
        learner_(learner),
        files_(files),
        layout_(plan, learner.layout()) {}

  // This site's sums at the values that the learner has, in the layout's order.
  // FAILED_PRECONDITION: no training images.
  absl::StatusOr<std::vector<double>> Sums(const ActivationStore& store,
                                           const ProgressSink& progress);
  // Gives the learner what the gathered statistics in file `path` say, unless
  // it has it. INVALID_ARGUMENT: no file, or not one of this plan.
  absl::Status Use(const std::string& path);
  // Gives it what this site's records alone say; of EWC see EwcRun.
  void UseOwn(const ActivationStore& store);

 private:
  // Whether EWC's start has yet to be taken from the statistics.
  absl::StatusOr<bool> LacksStart();
  absl::Status TakeStart(const GatheredStatistics& gathered);

  const Plan& plan_;
  Learner& learner_;
  FileStore* const files_;
  const StatisticsLayout layout_;
  std::vector<double> class_counts_;  // of all sites; empty: not yet read
};

}  // namespace fedgraft
