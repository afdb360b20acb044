#include "client/train/described_records.h"

#include "client/train/feature_rows.h"
#include "client/train/progress_part.h"
#include "common/base/status_macros.h"
#include "common/shift/sketch_layout.h"

namespace fedgraft {
namespace {

void AppendRow(const std::vector<double>& from, int64_t row, int64_t columns,
               std::vector<double>& to) {
  to.insert(to.end(), from.begin() + row * columns,
            from.begin() + (row + 1) * columns);
}

}  // namespace

MatrixView DescribedRecords::Acquisition() const {
  if (acquisition.empty()) return {};
  return {acquisition, count, kAcquisitions};
}

DescribedRecords DescribedRecords::Labelled() const {
  DescribedRecords labelled;
  labelled.feature_dim = feature_dim;
  labelled.classes = classes;
  for (int64_t i = 0; i < count; ++i) {
    if (labels[i] < 0) continue;
    ++labelled.count;
    labelled.labels.push_back(labels[i]);
    AppendRow(features, i, feature_dim, labelled.features);
    AppendRow(outputs, i, classes, labelled.outputs);
    if (!acquisition.empty()) {
      AppendRow(acquisition, i, kAcquisitions, labelled.acquisition);
    }
  }
  return labelled;
}

absl::StatusOr<DescribedRecords> DescribeRecords(const ActivationStore& store,
                                                 Learner& learner,
                                                 const Compute& compute,
                                                 const ProgressSink& progress) {
  DescribedRecords records;
  if (store.count() == 0) return records;
  FG_ASSIGN_OR_RETURN(
      const torch::Tensor features,
      HeadFeatures(store, learner.network(), compute, Part(progress, 0, 0.5)));
  FG_ASSIGN_OR_RETURN(const Predictions predictions,
                      learner.Predict(store, Part(progress, 0.5, 1)));
  records.count = store.count();
  records.feature_dim = features.size(1);
  records.classes = predictions.classes;
  const MatrixView rows = AsMatrix(features);
  records.features.assign(rows.values.begin(), rows.values.end());
  records.outputs.assign(predictions.probabilities.begin(),
                         predictions.probabilities.end());
  records.labels = store.labels();
  for (const AcquisitionNumbers& image : store.acquisition()) {
    records.acquisition.insert(records.acquisition.end(), image.begin(),
                               image.end());
  }
  return records;
}

}  // namespace fedgraft
