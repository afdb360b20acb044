#pragma once

#include "client/shift/shift_test.h"

namespace fedgraft {

// "label_score", "label_profiled" and "concept_score" (head_scores.h). Effect:
// the root of the statistic's excess over its degrees of freedom, per record:
// how far the site's coefficients lie from the head's, in deviations of one
// record.
class HeadShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

}  // namespace fedgraft
