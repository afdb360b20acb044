#include "client/shift/histogram_tests.h"

#include <iterator>
#include <numeric>

#include "client/shift/comparisons.h"
#include "common/base/status_macros.h"
#include "common/shift/shift_tests.h"

namespace fedgraft {
namespace {

double Sum(absl::Span<const double> counts) {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

absl::Status Compare(std::string_view name, absl::Span<const double> own,
                     absl::Span<const double> others, ShiftScalars& scalars) {
  const auto result = CompareCounts(own, others);
  if (DoesNotApply(result.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(result.status());
  AddResult(name, *result, scalars);
  return absl::OkStatus();
}

// By predicted class, out of counts by predicted class and label.
std::vector<double> Predicted(absl::Span<const double> confusion,
                              int num_classes) {
  std::vector<double> predicted;
  for (int c = 0; c < num_classes; ++c) {
    predicted.push_back(Sum(confusion.subspan(c * num_classes, num_classes)));
  }
  return predicted;
}

// Of the records of which it is told: the last bin holds the others.
absl::Status CompareTold(std::string_view name, absl::Span<const double> own,
                         absl::Span<const double> others,
                         ShiftScalars& scalars) {
  const auto told = [](absl::Span<const double> counts) {
    return counts.first(counts.size() - 1);
  };
  if (Sum(told(own)) < kSketchRecordsMin ||
      Sum(told(others)) < kSketchRecordsMin) {
    return absl::OkStatus();
  }
  return Compare(name, told(own), told(others), scalars);
}

constexpr std::string_view kAcquisitionTests[kAcquisitions] = {
    "acquisition_brightness", "acquisition_contrast", "acquisition_noise",
    "acquisition_sharpness"};

}  // namespace

std::vector<std::string_view> HistogramShiftTest::names() const {
  std::vector<std::string_view> names(std::begin(kAcquisitionTests),
                                      std::end(kAcquisitionTests));
  names.insert(names.end(), {kManufacturerTest, kModelTest, "label_counts",
                             "label_predicted", "covariate_outputs"});
  return names;
}

absl::Status HistogramShiftTest::Run(const SiteView& view,
                                     ShiftScalars& scalars) const {
  FG_RETURN_IF_ERROR(Compare("label_counts", view.Own("class_counts"),
                             view.Others("class_counts"), scalars));
  if (view.Has("confusion")) {
    const int classes = view.spec().num_classes;
    FG_RETURN_IF_ERROR(
        Compare("label_predicted", Predicted(view.Own("confusion"), classes),
                Predicted(view.Others("confusion"), classes), scalars));
    FG_RETURN_IF_ERROR(Compare("covariate_outputs", view.Own("confidence"),
                               view.Others("confidence"), scalars));
  }
  if (view.Has("manufacturer")) {
    FG_RETURN_IF_ERROR(CompareTold(kManufacturerTest, view.Own("manufacturer"),
                                   view.Others("manufacturer"), scalars));
    FG_RETURN_IF_ERROR(CompareTold(kModelTest, view.Own("model"),
                                   view.Others("model"), scalars));
  }
  if (!view.Has("acquisition")) return absl::OkStatus();
  for (int i = 0; i < kAcquisitions; ++i) {
    const auto bins = [&](absl::Span<const double> counts) {
      return counts.subspan(i * kSketchBins, kSketchBins);
    };
    FG_RETURN_IF_ERROR(Compare(kAcquisitionTests[i],
                               bins(view.Own("acquisition")),
                               bins(view.Others("acquisition")), scalars));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
