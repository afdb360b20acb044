#include "client/shift/watch_data.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/shift/comparisons.h"
#include "client/shift/site_sketch.h"
#include "common/base/status_macros.h"
#include "common/shift/multiplicity.h"
#include "common/shift/sketch.h"

namespace fedgraft {
namespace {

constexpr std::string_view kAcquisitionChecks[kAcquisitions] = {
    "brightness", "contrast", "noise", "sharpness"};

bool IsEnough(const MatrixView& records) {
  return records.rows >= kSketchRecordsMin;
}

absl::Status CheckSizes(const WatchReference& reference,
                        const ArrivedRecords& arrived) {
  if (!IsEnough(arrived.features)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "new records: expected ", kSketchRecordsMin, " or more, got ",
        arrived.features.rows, "; wait for more"));
  }
  if (!IsEnough(reference.features) &&
      !IsEnough(reference.validation.outputs)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "own records: expected ", kSketchRecordsMin,
        " or more to compare with, got ", reference.features.rows, " and ",
        reference.validation.outputs.rows, " for validation"));
  }
  if (arrived.outputs.rows != arrived.features.rows ||
      (arrived.acquisition.rows != 0 &&
       arrived.acquisition.rows != arrived.features.rows)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "new records: expected outputs and acquisition numbers of ",
        arrived.features.rows, " records, got ", arrived.outputs.rows, " and ",
        arrived.acquisition.rows));
  }
  if (static_cast<int64_t>(reference.validation.labels.size()) !=
      reference.validation.outputs.rows) {
    return absl::InvalidArgumentError("validation records: a label each");
  }
  return absl::OkStatus();
}

// `weight` of a record by its index.
template <typename Weight>
std::vector<double> ConfidenceCounts(const MatrixView& outputs,
                                     const Weight& weight) {
  std::vector<double> counts(outputs.columns * kSketchBins);
  for (int64_t r = 0; r < outputs.rows; ++r) {
    const absl::Span<const double> row = outputs.Row(r);
    counts[PredictedClass(row) * kSketchBins + ConfidenceBin(row)] += weight(r);
  }
  return counts;
}

std::vector<double> ConfidenceCounts(const MatrixView& outputs) {
  return ConfidenceCounts(outputs, [](int64_t) { return 1.0; });
}

// Whether the outputs are like those of the validation records at these shares
// of the classes.
bool SharesExplain(const LabelledOutputs& validation, const MatrixView& outputs,
                   const std::vector<double>& prior) {
  std::vector<double> weight(prior.size());
  for (int64_t label : validation.labels) weight[label] += 1;
  double sum = 0, squares = 0;
  for (size_t c = 0; c < weight.size(); ++c) {
    const double count = weight[c];
    weight[c] = prior[c] / count;
    sum += count * weight[c];
    squares += count * weight[c] * weight[c];
  }
  // As many as so many records of one weight tell (Kish's effective size).
  const double scale = sum / squares;
  const auto compared =
      CompareCounts(ConfidenceCounts(outputs),
                    ConfidenceCounts(validation.outputs, [&](int64_t r) {
                      return scale * weight[validation.labels[r]];
                    }));
  return !compared.ok() || compared->p > kWatchExplainedP;
}

// Adds what can be said; a test that does not apply says nothing.
absl::Status AddIfApplies(std::string_view name,
                          const absl::StatusOr<ShiftResult>& result,
                          WatchReport& report) {
  if (result.ok()) {
    report.results.push_back({name, *result});
  } else if (!DoesNotApply(result.status())) {
    return result.status();
  }
  return absl::OkStatus();
}

// The space of the reference's records: as a sketch's, of one site.
struct ReferenceSpace {
  SketchProjection projection;
  SketchSpace space;
  int64_t projected_dim = 0;

  absl::StatusOr<std::vector<double>> Embed(const MatrixView& features) const {
    FG_ASSIGN_OR_RETURN(const std::vector<double> projected,
                        projection.Map(features));
    FG_ASSIGN_OR_RETURN(const std::vector<double> z,
                        space.Map({projected, features.rows, projected_dim}));
    return space.random_features().Map({z, features.rows, space.dims()});
  }
  std::vector<double> AcquisitionCounts(const MatrixView& numbers,
                                        int which) const {
    std::vector<double> counts(kSketchBins);
    for (int64_t r = 0; r < numbers.rows; ++r) {
      counts[space.AcquisitionBin(which, numbers.Row(r)[which])] += 1;
    }
    return counts;
  }
};

absl::StatusOr<ReferenceSpace> MakeSpace(const WatchReference& reference,
                                         bool has_acquisition, uint64_t seed) {
  SketchSpec spec;
  spec.feature_dim = reference.features.columns;
  spec.seed = seed;
  spec.has_acquisition = has_acquisition;
  FG_ASSIGN_OR_RETURN(const Sketch sketch, Sketch::Create(spec));
  const std::vector<int64_t> no_labels(reference.features.rows, 0);
  FG_ASSIGN_OR_RETURN(
      SiteSketch site,
      SiteSketch::Create(sketch, {.features = reference.features,
                                  .labels = no_labels,
                                  .acquisition = reference.acquisition}));
  FG_ASSIGN_OR_RETURN(const std::vector<double> moments, site.Sums(sketch));
  FG_ASSIGN_OR_RETURN(SketchSpace space,
                      SketchSpace::Create(spec, sketch.layout(), moments));
  return ReferenceSpace{sketch.projection(), std::move(space),
                        spec.projected_dim()};
}

absl::Status CompareImages(const WatchReference& reference,
                           const ArrivedRecords& arrived, uint64_t seed,
                           WatchReport& report) {
  if (!IsEnough(reference.features)) {
    report.notes.push_back(
        absl::StrCat("Features are not compared: expected ", kSketchRecordsMin,
                     " or more own images that they were not fitted to, found ",
                     reference.features.rows, "."));
    return absl::OkStatus();
  }
  const bool has_acquisition =
      reference.acquisition.rows > 0 && arrived.acquisition.rows > 0;
  FG_ASSIGN_OR_RETURN(const ReferenceSpace space,
                      MakeSpace(reference, has_acquisition, seed));
  FG_ASSIGN_OR_RETURN(const std::vector<double> before,
                      space.Embed(reference.features));
  FG_ASSIGN_OR_RETURN(const std::vector<double> now,
                      space.Embed(arrived.features));
  const auto n = static_cast<double>(reference.features.rows);
  std::vector<double> mean(kSketchEmbedding);
  for (size_t i = 0; i < before.size(); ++i) {
    mean[i % kSketchEmbedding] += before[i] / n;
  }
  FG_RETURN_IF_ERROR(
      AddIfApplies("features",
                   CompareEmbeddings(
                       {now, arrived.features.rows, kSketchEmbedding}, mean, n),
                   report));
  for (int i = 0; has_acquisition && i < kAcquisitions; ++i) {
    FG_RETURN_IF_ERROR(AddIfApplies(
        kAcquisitionChecks[i],
        CompareCounts(space.AcquisitionCounts(arrived.acquisition, i),
                      space.AcquisitionCounts(reference.acquisition, i)),
        report));
  }
  return absl::OkStatus();
}

// What needs calibrated outputs.
absl::Status CompareLabels(const LabelledOutputs& validation,
                           const MatrixView& outputs,
                           const SourceOutputs& source, uint64_t seed,
                           WatchReport& report) {
  const int64_t classes = outputs.columns;
  FG_ASSIGN_OR_RETURN(const std::vector<double> before,
                      source.Posteriors(validation.outputs));
  FG_ASSIGN_OR_RETURN(const std::vector<double> now,
                      source.Posteriors(outputs));
  const std::vector<double> own =
      LeadingColumns({now, outputs.rows, classes}, classes - 1);
  const std::vector<double> others =
      LeadingColumns({before, validation.outputs.rows, classes}, classes - 1);
  auto compared = CompareMeans({own, outputs.rows, classes - 1},
                               {others, validation.outputs.rows, classes - 1});
  report.source_prior = source.prior();
  const auto prior = EstimateTargetPrior(outputs, source, validation, seed);
  if (prior.ok()) {
    report.prior = *prior;
    if (compared.ok()) {
      compared->effect = 0;
      for (int64_t c = 0; c < classes; ++c) {
        compared->effect += std::abs(prior->prior[c] - source.prior()[c]) / 2;
      }
    }
  } else if (absl::IsAborted(prior.status())) {
    report.notes.push_back(
        "The classes' shares are not estimated: the outputs tell too little of "
        "them.");
  } else {
    return prior.status();
  }
  return AddIfApplies("labels", compared, report);
}

bool Falls(const MeasureInterval& now, const MeasureInterval& before) {
  return now.high < before.low && now.value <= before.value - kWatchFallMin;
}

// What the classes' shares hardly move: structures add little to them.
bool TakenAsBefore(const WatchReport& report) {
  for (std::string_view name : {"brightness", "contrast", "noise"}) {
    const WatchResult* result = report.Find(name);
    if (result != nullptr && result->result.p <= kWatchTakenP) return false;
  }
  return true;
}

absl::Status EstimateEffects(const LabelledOutputs& validation,
                             const MatrixView& outputs, uint64_t seed,
                             WatchReport& report) {
  const auto source = SourceOutputs::Calibrate(validation);
  if (DoesNotApply(source.status())) {
    report.notes.push_back(absl::StrCat(
        "Neither the classes' shares nor the performance are estimated: ",
        source.status().message(), "."));
    return absl::OkStatus();
  }
  FG_RETURN_IF_ERROR(source.status());
  FG_RETURN_IF_ERROR(CompareLabels(validation, outputs, *source, seed, report));
  FG_ASSIGN_OR_RETURN(report.validation, ObservePerformance(validation));
  const WatchResult* labels = report.Find("labels");
  report.undoes_label_shift =
      report.prior.has_value() && labels != nullptr &&
      labels->result.p <= kWatchLabelP && TakenAsBefore(report) &&
      SharesExplain(validation, outputs, report.prior->prior);
  const auto expected =
      ExpectPerformance(outputs, validation, report.undoes_label_shift, seed);
  if (DoesNotApply(expected.status())) {
    report.notes.push_back(absl::StrCat("The performance is not estimated: ",
                                        expected.status().message(), "."));
    return absl::OkStatus();
  }
  FG_RETURN_IF_ERROR(expected.status());
  report.expected = *expected;
  const ModelPerformance &now = *expected, &before = *report.validation;
  report.performance_falls =
      Falls(now.balanced_accuracy, before.balanced_accuracy) ||
      (now.auc.has_value() && before.auc.has_value() &&
       Falls(*now.auc, *before.auc));
  return absl::OkStatus();
}

absl::Status Decide(double level, WatchReport& report) {
  std::vector<double> p;
  for (const WatchResult& result : report.results) p.push_back(result.result.p);
  FG_ASSIGN_OR_RETURN(const std::vector<double> adjusted, AdjustPValues(p));
  for (size_t i = 0; i < adjusted.size(); ++i) {
    report.results[i].adjusted_p = adjusted[i];
    report.results[i].differs = adjusted[i] <= level;
  }
  return absl::OkStatus();
}

}  // namespace

bool WatchReport::Differs() const {
  return std::any_of(results.begin(), results.end(),
                     [](const WatchResult& result) { return result.differs; });
}

const WatchResult* WatchReport::Find(std::string_view name) const {
  for (const WatchResult& result : results) {
    if (result.name == name) return &result;
  }
  return nullptr;
}

absl::StatusOr<WatchReport> WatchData(const WatchReference& reference,
                                      const ArrivedRecords& arrived,
                                      double level, uint64_t seed) {
  FG_RETURN_IF_ERROR(CheckSizes(reference, arrived));
  FG_RETURN_IF_ERROR(CheckMatrix(arrived.features, "new records' features"));
  FG_RETURN_IF_ERROR(CheckOutputs(arrived.outputs, arrived.outputs.columns));
  WatchReport report;
  FG_RETURN_IF_ERROR(CompareImages(reference, arrived, seed, report));
  const LabelledOutputs& validation = reference.validation;
  if (!IsEnough(validation.outputs)) {
    report.notes.push_back(absl::StrCat(
        "Outputs are not compared and the performance is not estimated: "
        "expected ",
        kSketchRecordsMin, " or more validation images, found ",
        validation.outputs.rows, "."));
  } else {
    FG_RETURN_IF_ERROR(
        CheckOutputs(validation.outputs, arrived.outputs.columns));
    FG_RETURN_IF_ERROR(
        AddIfApplies("outputs",
                     CompareCounts(ConfidenceCounts(arrived.outputs),
                                   ConfidenceCounts(validation.outputs)),
                     report));
    FG_RETURN_IF_ERROR(
        EstimateEffects(validation, arrived.outputs, seed, report));
  }
  FG_RETURN_IF_ERROR(Decide(level, report));
  return report;
}

}  // namespace fedgraft
