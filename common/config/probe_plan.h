#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/base/digest.h"
#include "common/config/plan.h"

namespace fedgraft {

// The plan of a short run that measures a backbone for the task of `plan`: a
// linear probe by ridge regression, no training, evaluated on the validation
// split. Sites, deadlines, classes, seed, preprocessing, update, secure
// aggregation and, if it solves a head, the solver's lambdas are those of
// `plan`; a normalisation of each site's own becomes the pooled one, whose sums
// tell more.
//
// The same arguments give the same hash. INVALID_ARGUMENT: architecture
// identity, whose data are features already, or one that is not known or has
// no linear head; differential privacy, which exact sums do not give.
absl::StatusOr<Plan> ProbePlan(const Plan& plan,
                               const std::string& architecture,
                               const Digest& backbone);

}  // namespace fedgraft
