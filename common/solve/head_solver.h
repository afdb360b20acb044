#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/config/plan.h"
#include "common/solve/solve_point.h"

// The solver of the exact head: a state that advances by one exact sum a round.
// Pure functions, torch-free: the aggregator runs them over all sites, a site
// over itself to compare.
//
//   minimise  sum_i loss(W z_i + b, y_i) + lambda / 2 |W|^2      (b free)
//
// newton: loss = -log softmax_y, in contrasts (solve_point.h). Newton's method
// with Armijo's rule (Nocedal and Wright, "Numerical Optimization", 2006,
// algorithms 3.1 and 3.2); above kNewtonVariablesMax variables L-BFGS
// (algorithm 7.4), whose first matrix is the inverse of Z'DZ + lambda I, with D
// the records' mean curvatures at a point passed before.
// ridge: loss = |W z + b - onehot(y)|^2 / 2, in closed form.

namespace fedgraft {

inline constexpr int64_t kNewtonVariablesMax = 2048;
// Of features: a larger Z'DZ is not asked for, and L-BFGS starts plain.
inline constexpr int64_t kGramFeaturesMax = 4096;

// One lambda's solution, on normalised features.
struct SolvedHead {
  double lambda = 0;
  // [classes][feature_dim + 1]: slopes, then intercept.
  std::vector<double> weights;
  double objective = 0;     // training, penalty included
  double gradient_max = 0;  // largest component left
  uint32_t rounds = 0;      // that it took
  bool converged = false;
  double validation_records = 0, validation_loss = 0;  // summed loss
};

struct SolverState {
  int classes = 2;
  int64_t feature_dim = 1;
  SolveStage stage = SolveStage::kMoments;
  uint32_t rounds = 0;  // sums taken in so far
  double records = 0;
  std::vector<double> class_counts;
  std::vector<double> mean, scale;  // as in SolvePoint
  double hessian_scale = 1;
  std::vector<double> gram;  // [z 1]'D[z 1] of L-BFGS, packed symmetric
  uint32_t lambda_index = 0, lambda_rounds = 0;

  struct Accepted {
    std::vector<double> weights;
    double loss = 0;               // without penalty
    std::vector<double> gradient;  // without penalty
    double records = 0;
  };
  bool has_accepted = false;
  Accepted accepted;
  std::vector<double> direction;
  double step = 1;
  std::vector<double> trial;  // what the sites are asked about

  struct Pair {
    std::vector<double> step, gradient;  // differences
  };
  std::vector<Pair> pairs;        // newest last
  std::vector<SolvedHead> heads;  // in the order of plan.solver.lambdas
  bool done = false;

  int64_t row() const { return feature_dim + 1; }
  int64_t variables() const { return (classes - 1) * row(); }
};

// REQUIRES: plan.solver.kind is not kNone.
SolverState InitialSolverState(const Plan& plan, int64_t feature_dim);
// What is asked next. REQUIRES: !state.done.
SolvePoint NextPoint(const Plan& plan, const SolverState& state);
// Takes in the sums (solve_statistics.h) of NextPoint(plan, state).
// INVALID_ARGUMENT, with no new state: not as many as that point's layout has,
// or no record. Never diverges: a point that is not better is not accepted.
// After plan.solver.rounds_max rounds the state is done, with heads that say
// that they did not converge.
absl::StatusOr<SolverState> Advance(const Plan& plan, const SolverState& state,
                                    absl::Span<const double> sums);

// The head to publish: of the lambda with the least validation loss per record
// (without validation records: the first), or, before any is solved, of the
// newest accepted point (zero before that). [classes][feature_dim + 1] on the
// features as they are (per_site: on each site's normalised ones).
std::vector<double> PublishedHead(const SolverState& state);
// Its index in `heads`. REQUIRES: heads is not empty.
size_t ChosenHead(const SolverState& state);

// For people, by name: solve_records, and of the newest head solve_lambda,
// solve_rounds, solve_objective, solve_gradient_max, solve_converged (0 or 1),
// solve_validation_loss (per record, if there were any; ridge: half the squared
// error); once done, of the chosen one, with solve_rounds_total.
std::map<std::string, double> SolveMetrics(const Plan& plan,
                                           const SolverState& state);

// For the journal. DATA_LOSS: not such bytes.
Bytes EncodeSolverState(const SolverState& state);
absl::StatusOr<SolverState> DecodeSolverState(ByteSpan bytes);

}  // namespace fedgraft
