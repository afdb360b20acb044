#include "client/shift/watch_data.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "client/shift/comparisons.h"
#include "client/shift/site_sketch.h"
#include "common/base/status_macros.h"
#include "common/shift/sketch.h"

namespace fedgraft {
namespace {

absl::Status CheckRecords(const WatchedRecords& records, const char* name) {
  FG_RETURN_IF_ERROR(CheckMatrix(records.features, name));
  FG_RETURN_IF_ERROR(CheckMatrix(records.outputs, name));
  if (records.features.rows < kSketchRecordsMin) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": expected ", kSketchRecordsMin, " or more, got ",
                     records.features.rows));
  }
  if (records.outputs.rows != records.features.rows) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected outputs of ", records.features.rows,
                     " records, got ", records.outputs.rows));
  }
  return absl::OkStatus();
}

std::vector<double> ConfidenceCounts(const MatrixView& outputs) {
  std::vector<double> counts(outputs.columns * kSketchBins);
  for (int64_t r = 0; r < outputs.rows; ++r) {
    const absl::Span<const double> row = outputs.Row(r);
    counts[PredictedClass(row) * kSketchBins + ConfidenceBin(row)] += 1;
  }
  return counts;
}

absl::StatusOr<std::vector<double>> Embed(const SketchProjection& projection,
                                          const SketchSpace& space,
                                          const MatrixView& features,
                                          int64_t projected_dim) {
  FG_ASSIGN_OR_RETURN(const std::vector<double> projected,
                      projection.Map(features));
  FG_ASSIGN_OR_RETURN(const std::vector<double> z,
                      space.Map({projected, features.rows, projected_dim}));
  return space.random_features().Map({z, features.rows, space.dims()});
}

std::optional<ShiftResult> IfApplies(absl::StatusOr<ShiftResult> result) {
  if (result.ok()) return *result;
  return std::nullopt;
}

}  // namespace

absl::StatusOr<WatchReport> WatchData(const WatchedRecords& training,
                                      const WatchedRecords& arrived,
                                      uint64_t seed) {
  FG_RETURN_IF_ERROR(CheckRecords(training, "training records"));
  FG_RETURN_IF_ERROR(CheckRecords(arrived, "new records"));
  if (training.outputs.columns != arrived.outputs.columns) {
    return absl::InvalidArgumentError(absl::StrCat(
        "new records: expected outputs of ", training.outputs.columns,
        " classes, got ", arrived.outputs.columns));
  }
  WatchReport report;
  FG_ASSIGN_OR_RETURN(report.before, EstimatePerformance(training.outputs));
  FG_ASSIGN_OR_RETURN(report.expected, EstimatePerformance(arrived.outputs));
  report.outputs = IfApplies(CompareCounts(ConfidenceCounts(arrived.outputs),
                                           ConfidenceCounts(training.outputs)));

  // The space of the training records: as a sketch's, of one site.
  SketchSpec spec;
  spec.feature_dim = training.features.columns;
  spec.num_classes = static_cast<int>(training.outputs.columns);
  spec.seed = seed;
  FG_ASSIGN_OR_RETURN(const Sketch sketch, Sketch::Create(spec));
  const std::vector<int64_t> no_labels(training.features.rows, 0);
  FG_ASSIGN_OR_RETURN(
      SiteSketch site,
      SiteSketch::Create(sketch, {training.features, no_labels, {}, {}}));
  FG_ASSIGN_OR_RETURN(const std::vector<double> moments, site.Sums(sketch));
  FG_ASSIGN_OR_RETURN(const SketchSpace space,
                      SketchSpace::Create(spec, sketch.layout(), moments));
  const auto embed = [&](const MatrixView& features) {
    return Embed(sketch.projection(), space, features, spec.projected_dim());
  };
  FG_ASSIGN_OR_RETURN(const std::vector<double> before,
                      embed(training.features));
  FG_ASSIGN_OR_RETURN(const std::vector<double> now, embed(arrived.features));
  const auto n = static_cast<double>(training.features.rows);
  std::vector<double> mean(kSketchEmbedding);
  for (size_t i = 0; i < before.size(); ++i) {
    mean[i % kSketchEmbedding] += before[i] / n;
  }
  report.features = IfApplies(CompareEmbeddings(
      {now, arrived.features.rows, kSketchEmbedding}, mean, n));
  return report;
}

}  // namespace fedgraft
