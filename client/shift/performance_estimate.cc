#include "client/shift/performance_estimate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/shift/site_sketch.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr double kSumTolerance = 1e-4;

// Expected pairs of a positive that scores above a negative, over expected
// pairs; a record is no pair with itself, equal scores are half a pair.
double ExpectedAuc(const MatrixView& posteriors, const MatrixView& outputs) {
  struct Record {
    double score, p;
  };
  std::vector<Record> records;
  double positives = 0;
  for (int64_t r = 0; r < posteriors.rows; ++r) {
    records.push_back({outputs.Row(r)[1], posteriors.Row(r)[1]});
    positives += records.back().p;
  }
  std::sort(records.begin(), records.end(),
            [](const Record& a, const Record& b) { return a.score < b.score; });
  double ordered = 0, pairs = 0, negatives_below = 0;
  const double negatives = static_cast<double>(records.size()) - positives;
  for (size_t begin = 0; begin < records.size();) {
    size_t end = begin;
    double tied_negatives = 0;
    for (; end < records.size() && records[end].score == records[begin].score;
         ++end) {
      tied_negatives += 1 - records[end].p;
    }
    for (size_t i = begin; i < end; ++i) {
      const double p = records[i].p;
      ordered += p * (negatives_below + (tied_negatives - (1 - p)) / 2);
      pairs += p * (negatives - (1 - p));
    }
    negatives_below += tied_negatives;
    begin = end;
  }
  return pairs > 0 ? ordered / pairs : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

absl::StatusOr<PerformanceEstimate> EstimatePerformance(
    const MatrixView& posteriors) {
  return EstimatePerformance(posteriors, posteriors);
}

absl::StatusOr<PerformanceEstimate> EstimatePerformance(
    const MatrixView& posteriors, const MatrixView& outputs) {
  FG_RETURN_IF_ERROR(CheckMatrix(posteriors, "posteriors"));
  FG_RETURN_IF_ERROR(CheckMatrix(outputs, "outputs"));
  const int64_t n = posteriors.rows, classes = posteriors.columns;
  if (n < 1 || classes < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "posteriors: expected a record and two classes or more, not ", n,
        " and ", classes));
  }
  if (outputs.rows != n || outputs.columns != classes) {
    return absl::InvalidArgumentError(
        absl::StrCat("outputs: expected ", n, " records of ", classes,
                     " classes, got ", outputs.rows, " of ", outputs.columns));
  }
  PerformanceEstimate estimate;
  std::vector<double> expected(classes), right(classes);
  double variance = 0;
  for (int64_t r = 0; r < n; ++r) {
    const absl::Span<const double> row = posteriors.Row(r);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      sum += row[c];
      expected[c] += row[c];
    }
    if (*std::min_element(row.begin(), row.end()) < 0 ||
        !(std::abs(sum - 1) < kSumTolerance)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "posteriors: row ", r, " is no distribution: its sum is ", sum));
    }
    const int64_t predicted = PredictedClass(outputs.Row(r));
    const double p = row[predicted];
    right[predicted] += p;
    estimate.accuracy += p / static_cast<double>(n);
    variance += p * (1 - p);
  }
  estimate.accuracy_deviation =
      std::sqrt(std::max(variance, 0.0)) / static_cast<double>(n);
  for (int64_t c = 0; c < classes; ++c) {
    if (!(expected[c] > 0)) {
      return absl::FailedPreconditionError(
          absl::StrCat("posteriors: no record is expected to be of class ", c));
    }
    estimate.balanced_accuracy +=
        right[c] / expected[c] / static_cast<double>(classes);
  }
  estimate.auc = classes == 2 ? ExpectedAuc(posteriors, outputs)
                              : std::numeric_limits<double>::quiet_NaN();
  return estimate;
}

}  // namespace fedgraft
