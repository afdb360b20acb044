#include "common/solve/head_solver.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/solve/descent.h"
#include "common/solve/least_squares.h"
#include "common/solve/solve_statistics.h"

namespace fedgraft {
namespace {

using Sums = absl::Span<const double>;

// Less relative variance than this is rounding: the feature is constant and is
// switched off.
constexpr double kVarianceMin = 1e-10;

absl::Span<const double> PartOf(Sums sums, const SolveLayout::Part& part) {
  return sums.subspan(part.begin, part.count);
}

bool UsesGram(const SolverState& state) {
  return state.variables() > kNewtonVariablesMax &&
         state.feature_dim <= kGramFeaturesMax;
}

SolveStage DescentStage(const SolverState& state) {
  return state.variables() > kNewtonVariablesMax ? SolveStage::kGradient
                                                 : SolveStage::kHessian;
}

// Slopes 0 and the classes' log-frequencies as intercepts: the best constant.
std::vector<double> StartAtPriors(const SolverState& state) {
  const std::vector<double> q = HelmertContrasts(state.classes);
  std::vector<double> start(static_cast<size_t>(state.variables()), 0.0);
  for (int a = 0; a + 1 < state.classes; ++a) {
    for (int c = 0; c < state.classes; ++c) {
      start[a * state.row() + state.feature_dim] +=
          q[a * state.classes + c] *
          std::log(std::max(state.class_counts[c], 0.5));
    }
  }
  return start;
}

void TakeMoments(const Plan& plan, const SolveLayout& layout, Sums sums,
                 SolverState& state) {
  state.records = sums[layout.records.begin];
  const auto counts = PartOf(sums, layout.class_counts);
  state.class_counts.assign(counts.begin(), counts.end());
  const auto linear = PartOf(sums, layout.feature_sums);
  const auto squares = PartOf(sums, layout.feature_squares);
  const bool pooled = plan.solver.normalization == Normalization::kPooled;
  double square_max = 1;
  for (int64_t j = 0; j < state.feature_dim; ++j) {
    const double mean = linear[j] / state.records;
    const double square = squares[j] / state.records;
    if (pooled) {
      const double variance = square - mean * mean;
      const bool varies = variance > kVarianceMin * (square + kVarianceMin);
      state.mean.push_back(mean);
      state.scale.push_back(varies ? 1 / std::sqrt(variance) : 0);
    } else if (plan.solver.normalization == Normalization::kNone) {
      square_max = std::max(square_max, square);
    }
  }
  // Bounds every entry of the Hessian over this by 1/2, at each site and in
  // the sum (Cauchy and Schwarz).
  state.hessian_scale = state.records * square_max;
  if (plan.solver.kind == SolverKind::kRidge) {
    state.stage = SolveStage::kCross;
    return;
  }
  state.trial = StartAtPriors(state);
  state.stage = UsesGram(state) ? SolveStage::kGram : DescentStage(state);
}

void TakeGram(const Plan& plan, const SolveLayout& layout, Sums sums,
              SolverState& state) {
  const auto gram = PartOf(sums, layout.gram);
  state.gram.assign(gram.begin(), gram.end());
  state.stage = DescentStage(state);
  ++state.lambda_rounds;
  ResumeWithGram(plan.solver, state);
}

void TakeCross(const Plan& plan, const SolveLayout& layout, Sums sums,
               SolverState& state) {
  LeastSquares problem;
  problem.classes = state.classes;
  problem.feature_dim = state.feature_dim;
  problem.records = sums[layout.records.begin];
  problem.class_counts = PartOf(sums, layout.class_counts);
  problem.feature_sums = PartOf(sums, layout.feature_sums);
  problem.gram = PartOf(sums, layout.gram);
  problem.cross = PartOf(sums, layout.cross);
  for (double lambda : plan.solver.lambdas) {
    state.heads.push_back(SolveLeastSquares(problem, lambda));
  }
  state.stage = SolveStage::kValidate;
  state.done = state.heads.size() == 1;
}

void TakeValidation(const SolveLayout& layout, Sums sums, SolverState& state) {
  const auto losses = PartOf(sums, layout.validation_losses);
  for (size_t i = 0; i < state.heads.size(); ++i) {
    state.heads[i].validation_records = sums[layout.validation_records.begin];
    state.heads[i].validation_loss = losses[i];
  }
  state.done = true;
}

void TakePoint(const Plan& plan, const SolveLayout& layout, Sums sums,
               SolverState& state) {
  Evaluated point;
  point.records = sums[layout.records.begin];
  point.loss = sums[layout.loss.begin];
  point.validation_records = sums[layout.validation_records.begin];
  point.validation_loss = sums[layout.validation_losses.begin];
  point.gradient = PartOf(sums, layout.gradient);
  point.hessian = PartOf(sums, layout.hessian);
  ++state.lambda_rounds;
  const bool last =
      state.rounds >= static_cast<uint32_t>(plan.solver.rounds_max);
  Descend(plan.solver, point, last, state);
}

}  // namespace

SolverState InitialSolverState(const Plan& plan, int64_t feature_dim) {
  FG_CHECK(plan.solver.kind != SolverKind::kNone);
  SolverState state;
  state.classes = plan.num_classes();
  state.feature_dim = feature_dim;
  return state;
}

SolvePoint NextPoint(const Plan& plan, const SolverState& state) {
  FG_CHECK(!state.done);
  SolvePoint point;
  point.stage = state.stage;
  point.classes = state.classes;
  point.feature_dim = state.feature_dim;
  point.per_site = plan.solver.normalization == Normalization::kPerSite;
  if (state.stage == SolveStage::kMoments) return point;
  point.mean = state.mean;
  point.scale = state.scale;
  point.hessian_scale = state.hessian_scale;
  if (state.stage == SolveStage::kValidate) {
    point.candidates = static_cast<int>(state.heads.size());
    for (const SolvedHead& head : state.heads) {
      point.weights.insert(point.weights.end(), head.weights.begin(),
                           head.weights.end());
    }
  } else if (state.stage != SolveStage::kCross) {
    point.weights = state.trial;
  }
  return point;
}

absl::StatusOr<SolverState> Advance(const Plan& plan, const SolverState& state,
                                    absl::Span<const double> sums) {
  FG_CHECK(!state.done);
  const SolveLayout layout(NextPoint(plan, state));
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "solver: expected ", layout.count(), " sums, got ", sums.size()));
  }
  if (!(sums[layout.records.begin] >= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "solver: sums over ", sums[layout.records.begin], " records"));
  }
  SolverState next = state;
  ++next.rounds;
  switch (state.stage) {
    case SolveStage::kMoments:
      TakeMoments(plan, layout, sums, next);
      break;
    case SolveStage::kGram:
      TakeGram(plan, layout, sums, next);
      break;
    case SolveStage::kCross:
      TakeCross(plan, layout, sums, next);
      break;
    case SolveStage::kValidate:
      TakeValidation(layout, sums, next);
      break;
    case SolveStage::kGradient:
    case SolveStage::kHessian:
      TakePoint(plan, layout, sums, next);
      break;
  }
  return next;
}

size_t ChosenHead(const SolverState& state) {
  FG_CHECK(!state.heads.empty());
  size_t chosen = 0;
  const auto loss = [&state](size_t i) {
    const SolvedHead& head = state.heads[i];
    return head.validation_loss / head.validation_records;
  };
  for (size_t i = 1; i < state.heads.size(); ++i) {
    // Cohorts may differ between lambdas; without records neither is better.
    if (state.heads[i].validation_records > 0 && loss(i) < loss(chosen)) {
      chosen = i;
    }
  }
  return chosen;
}

std::vector<double> PublishedHead(const SolverState& state) {
  std::vector<double> head;
  if (!state.heads.empty()) {
    head = state.heads[ChosenHead(state)].weights;
  } else if (state.has_accepted) {
    head = FromContrasts(state, state.accepted.weights);
  } else {
    head.assign(static_cast<size_t>(state.classes * state.row()), 0.0);
  }
  if (state.scale.empty()) return head;
  for (int c = 0; c < state.classes; ++c) {
    double* row = head.data() + c * state.row();
    for (int64_t j = 0; j < state.feature_dim; ++j) {
      row[j] *= state.scale[j];
      row[state.feature_dim] -= row[j] * state.mean[j];
    }
  }
  return head;
}

std::map<std::string, double> SolveMetrics(const Plan& plan,
                                           const SolverState& state) {
  std::map<std::string, double> metrics = {{"solve_records", state.records}};
  if (state.heads.empty()) return metrics;
  const SolvedHead& head =
      state.done ? state.heads[ChosenHead(state)] : state.heads.back();
  metrics["solve_lambda"] = head.lambda;
  metrics["solve_rounds"] = head.rounds;
  metrics["solve_objective"] = head.objective;
  metrics["solve_gradient_max"] = head.gradient_max;
  metrics["solve_converged"] = head.converged ? 1 : 0;
  if (head.validation_records > 0) {
    metrics["solve_validation_loss"] =
        head.validation_loss / head.validation_records;
  }
  if (state.done) metrics["solve_rounds_total"] = state.rounds;
  if (state.done && plan.solver.lambdas.size() > 1) {
    for (const SolvedHead& each : state.heads) {
      metrics[absl::StrCat("solve_rounds_at_", each.lambda)] = each.rounds;
    }
  }
  return metrics;
}

}  // namespace fedgraft
