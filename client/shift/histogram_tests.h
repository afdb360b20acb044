#pragma once

#include "client/shift/shift_test.h"

namespace fedgraft {

// Chi-square tests of counts (comparisons.h): "label_counts" of the labels; of
// the run model's outputs "label_predicted" (classes) and "covariate_outputs"
// (classes by confidence); "acquisition_..." of what describes each image, and
// of the scanners of those records of which they are told.
class HistogramShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

}  // namespace fedgraft
