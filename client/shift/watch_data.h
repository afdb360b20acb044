#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/expected_performance.h"
#include "client/shift/shift_test.h"
#include "client/shift/source_outputs.h"
#include "client/shift/target_prior.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// A site's new records, without labels, beside those that the model learned
// from. All of it stays at the site.
struct ArrivedRecords {
  MatrixView features;     // [n, d], what the model's head gets
  MatrixView outputs;      // [n, C], the model's probabilities
  MatrixView acquisition;  // [n, kAcquisitions]; no row: feature vectors
};

// What they are compared with.
struct WatchReference {
  // Of records to which the features were not fitted: under a model that
  // trained them, those of the training split differ from any new ones.
  MatrixView features;     // [m, d]
  MatrixView acquisition;  // [m, kAcquisitions], as above
  // Held out, too: those that the model was fitted to it answers too surely.
  LabelledOutputs validation;
};

struct WatchResult {
  std::string_view name;  // of WatchChecks()
  ShiftResult result;
  double adjusted_p = 1;  // for the number of checks
  bool differs = false;
};

struct WatchReport {
  std::vector<WatchResult> results;  // of the checks that apply
  // Shares of the classes: of the validation records, and without labels of the
  // new ones. Absent with `expected`: see notes.
  std::vector<double> source_prior;
  std::optional<TargetPrior> prior;
  // On the new records, without labels; on the validation records, by theirs.
  std::optional<ModelPerformance> expected, validation;
  // Whether `expected` is for the new shares of the classes.
  bool undoes_label_shift = false;
  // `expected` lies wholly below `validation`, by kWatchFallMin or more.
  bool performance_falls = false;
  std::vector<std::string> notes;  // what is missing, and why

  bool Differs() const;
  // Null: the check did not apply.
  const WatchResult* Find(std::string_view name) const;
};

// Compares features by the kernel two-sample test (common/shift/mmd.h) in the
// reference's own whitened space, acquisition numbers and outputs by histograms
// (comparisons.h), and the mean calibrated outputs by Hotelling's test. A check
// differs if its p-value, adjusted for their number (Benjamini-Hochberg), is at
// most `level`: without a change, that is the share of batches with any.
// Label shift is undone in `expected` if the last of them has a p-value of at
// most kWatchLabelP, if no difference in brightness, contrast or noise (down to
// kWatchTakenP) tells of another scanner, and if new shares of the classes are
// all that is needed to explain the outputs: the histogram of the validation
// records, weighted to the new shares, is not refuted at kWatchExplainedP.
//
// INVALID_ARGUMENT: sizes, values. FAILED_PRECONDITION: fewer than
// kSketchRecordsMin new records, or of the reference on both counts.
inline constexpr double kWatchLabelP = 0.05, kWatchExplainedP = 0.01,
                        kWatchTakenP = 0.003;
inline constexpr double kWatchFallMin = 0.02;
absl::StatusOr<WatchReport> WatchData(const WatchReference& reference,
                                      const ArrivedRecords& arrived,
                                      double level, uint64_t seed);

}  // namespace fedgraft
