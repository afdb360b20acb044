#pragma once

#include <vector>

#include "absl/types/span.h"
#include "common/config/plan.h"
#include "common/solve/head_solver.h"

namespace fedgraft {

// What the sums say of the trial point; the penalty is not in it.
struct Evaluated {
  double records = 0;
  double loss = 0;
  double validation_records = 0, validation_loss = 0;
  absl::Span<const double> gradient;  // [variables]
  absl::Span<const double> hessian;   // packed, or empty: L-BFGS
};

// One step of the descent along the path of lambdas: accepts or refuses the
// trial, records the heads that are solved by it, and sets the next trial.
// Sums of another number of records than the accepted point's come from
// another cohort of sites: the search starts anew there. `last`: no further
// round is to be had; what is not solved is recorded as it stands.
void Descend(const SolverSpec& spec, const Evaluated& point, bool last,
             SolverState& state);

// L-BFGS goes on from the accepted point with a matrix that has just come.
void ResumeWithGram(const SolverSpec& spec, SolverState& state);

// [classes][feature_dim + 1] from contrasts: W = Q' V.
std::vector<double> FromContrasts(const SolverState& state,
                                  absl::Span<const double> contrasts);

}  // namespace fedgraft
