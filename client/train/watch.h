#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/features/feature_cache.h"
#include "client/shift/watch_data.h"
#include "client/shift/watch_history.h"
#include "client/train/model_choice.h"
#include "client/train/session.h"
#include "common/base/digest.h"

namespace fedgraft {

struct WatchOptions {
  ModelChoice model;
  FeatureCacheSpec cache;      // the site's; folder empty: none
  std::string history_folder;  // a file for each model; made if missing
  double level = 0.01;         // of false alarms, by batch
  bool acknowledges = false;   // the charts' change is known: begin them anew
  bool remembers = true;       // false: the history stays as it is
};

struct WatchOutcome {
  Digest model;
  int64_t arrived = 0, reference = 0, validation = 0;  // records
  bool reference_is_validation = false;  // the model trained the features
  WatchReport report;
  std::vector<WatchChart> charts;
  size_t batches = 0;           // of the history, this one included
  bool is_known_batch = false;  // it has been here, and counts once
  std::string history_path;

  bool IsAlarm() const;
};

// Compares new records of a site (the test split of `arrived`, opened for
// kPredict) with its own (`own`, opened for kTrain), and notes the batch in the
// history of this model and these own records. Only the history's file and the
// feature cache are written; nothing leaves the process.
//
// FAILED_PRECONDITION: too few records. DATA_LOSS: a damaged history.
absl::StatusOr<WatchOutcome> Watch(const WatchOptions& options,
                                   const DataSource& own,
                                   const DataSource& arrived,
                                   const ProgressSink& progress);

// For people: what was compared, what is normal, what to do.
std::string WatchText(const WatchOutcome& outcome,
                      const std::vector<std::string>& classes, double level);
std::string WatchJson(const WatchOutcome& outcome,
                      const std::vector<std::string>& classes, double level);

}  // namespace fedgraft
