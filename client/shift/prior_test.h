#pragma once

#include "client/shift/shift_test.h"

namespace fedgraft {

// "label_em": are the classes' shares that explain the records best, without
// their labels, those of the other sites? The score test of the mixture
// likelihood at the others' shares: by the head's own score equations its mean
// probabilities over the others' records are their shares, so that it compares
// two means of one function, and the covariance at the site serves both.
// Effect: total variation between the estimated shares and the others'.
//
// With it "shift.prior.<class>", its 95 % interval ".low" and ".high" and
// "shift.reference.<class>", by maximum likelihood (common/shift/label_shift.h)
// under the others' head; the interval has the chance of the others' records in
// it. And as a check of the prior, if the model's outputs are there,
// "shift.prior_check.<class>" by confusion (BBSE).
class PriorShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

}  // namespace fedgraft
