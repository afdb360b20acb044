#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/shift/efficient_score.h"
#include "common/shift/label_shift.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// What the others' head makes of the site's features, without its labels.
struct OthersPosteriors {
  std::vector<double> posteriors;  // [n, C]
  std::vector<double> shares;      // [C], of the classes among the others
  // The shares at the site that explain its posteriors best.
  PriorEstimate prior;
};

// Of records [n, d] of head features by a head whose training records had
// these classes' `shares`. FAILED_PRECONDITION: a class without share, or
// features that leave the shares open.
absl::StatusOr<OthersPosteriors> JudgeByHead(const MatrixView& features,
                                             const ReferenceHead& head,
                                             std::vector<double> shares);

}  // namespace fedgraft
