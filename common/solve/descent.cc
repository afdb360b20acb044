#include "common/solve/descent.h"

#include <algorithm>
#include <cmath>

#include "common/solve/symmetric.h"
#include "common/transfer/packed_symmetric.h"

namespace fedgraft {
namespace {

using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

constexpr double kSufficientDecrease = 1e-4;
constexpr double kStepMin = 0x1p-30;
// Objectives this close (relative) are equal but for rounding,
constexpr double kSame = 1e-12;
// or this close for the grid: 1,024 sites' losses, each to half of 2^-38.
constexpr double kSameGrid = 0x1p-29;
constexpr size_t kPairsMax = 20;
// Rounds of a lambda after which L-BFGS asks for its matrix again.
constexpr uint32_t kGramRounds[] = {4, 8, 16, 32, 64, 128};

Vector ToVector(absl::Span<const double> values) {
  return Eigen::Map<const Vector>(values.data(),
                                  static_cast<Eigen::Index>(values.size()));
}
std::vector<double> ToStd(const Vector& values) {
  return {values.data(), values.data() + values.size()};
}

// lambda for slopes, 0 for intercepts.
Vector PenaltyOf(const SolverState& state, double lambda) {
  Vector penalty = Vector::Constant(state.variables(), lambda);
  for (int64_t k = state.feature_dim; k < state.variables(); k += state.row()) {
    penalty[k] = 0;
  }
  return penalty;
}

double Objective(double loss, const Vector& penalty, const Vector& weights) {
  return loss + 0.5 * (penalty.array() * weights.array().square()).sum();
}

// The inverse of I x (sum of w_i [z_i 1][z_i 1]' + lambda I): the Hessian, if
// the records' curvatures diag(p) - p p' were all w_i times the identity.
class Preconditioner {
 public:
  Preconditioner(const SolverState& state, double lambda) : row_(state.row()) {
    if (state.gram.empty()) return;
    Matrix curvature = UnpackSymmetric(state.gram, row_);
    curvature.diagonal().head(row_ - 1).array() += lambda;
    factor_.compute(curvature);
    usable_ = factor_.info() == Eigen::Success;
  }
  Vector Apply(const Vector& gradient) const {
    if (!usable_) return gradient;
    Vector result(gradient.size());
    for (Eigen::Index k = 0; k < gradient.size(); k += row_) {
      result.segment(k, row_) = factor_.solve(gradient.segment(k, row_));
    }
    return result;
  }

 private:
  int64_t row_;
  bool usable_ = false;
  Eigen::LLT<Matrix> factor_;
};

// -H gradient by the two loops of L-BFGS.
Vector QuasiNewton(const SolverState& state, double lambda,
                   const Vector& penalty, const Vector& gradient) {
  std::vector<Vector> steps, changes;
  for (const SolverState::Pair& pair : state.pairs) {
    const Vector step = ToVector(pair.step);
    Vector change = ToVector(pair.gradient);
    change.array() += penalty.array() * step.array();
    if (step.dot(change) > 1e-12 * step.norm() * change.norm()) {
      steps.push_back(step);
      changes.push_back(std::move(change));
    }
  }
  Vector q = gradient;
  std::vector<double> alpha(steps.size());
  for (size_t i = steps.size(); i-- > 0;) {
    alpha[i] = steps[i].dot(q) / steps[i].dot(changes[i]);
    q -= alpha[i] * changes[i];
  }
  const Preconditioner preconditioner(state, lambda);
  q = preconditioner.Apply(q);
  if (!steps.empty()) {  // Nocedal and Wright, equation 7.20
    const Vector& change = changes.back();
    q *= steps.back().dot(change) / change.dot(preconditioner.Apply(change));
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    const double beta = changes[i].dot(q) / steps[i].dot(changes[i]);
    q += (alpha[i] - beta) * steps[i];
  }
  return -q;
}

Vector Direction(const SolverState& state, double lambda,
                 absl::Span<const double> hessian, const Vector& penalty,
                 const Vector& gradient) {
  Vector direction;
  if (hessian.empty()) {
    direction = QuasiNewton(state, lambda, penalty, gradient);
  } else {
    Matrix matrix = UnpackSymmetric(hessian, state.variables());
    matrix.diagonal() += penalty;
    direction = -SolvePositive(matrix, gradient);
  }
  if (direction.dot(gradient) < 0) return direction;
  return -gradient;  // rounding spoilt it
}

void SetTrial(SolverState& state) {
  state.trial.resize(state.accepted.weights.size());
  for (size_t i = 0; i < state.trial.size(); ++i) {
    state.trial[i] =
        state.accepted.weights[i] + state.step * state.direction[i];
  }
}

// False: the trial is no better, and the step was halved for another one.
bool Accept(const Evaluated& point, const Vector& penalty, SolverState& state) {
  const SolverState::Accepted& before = state.accepted;
  const bool same_cohort =
      state.has_accepted && before.records == point.records;
  if (same_cohort) {
    const Vector weights = ToVector(before.weights);
    const double from = Objective(before.loss, penalty, weights);
    const double to = Objective(point.loss, penalty, ToVector(state.trial));
    Vector gradient = ToVector(before.gradient);
    gradient.array() += penalty.array() * weights.array();
    const double slope = gradient.dot(ToVector(state.direction));
    if (to > from + kSufficientDecrease * state.step * slope +
                 kSame * std::abs(from) + kSameGrid) {
      state.step /= 2;
      if (state.step >= kStepMin) SetTrial(state);
      return false;
    }
    SolverState::Pair pair;
    for (size_t i = 0; i < state.trial.size(); ++i) {
      pair.step.push_back(state.trial[i] - before.weights[i]);
      pair.gradient.push_back(point.gradient[i] - before.gradient[i]);
    }
    if (point.hessian.empty()) state.pairs.push_back(std::move(pair));
    if (state.pairs.size() > kPairsMax) state.pairs.erase(state.pairs.begin());
  } else {
    state.pairs.clear();
  }
  state.has_accepted = true;
  state.accepted = {state.trial,
                    point.loss,
                    {point.gradient.begin(), point.gradient.end()},
                    point.records};
  return true;
}

void SetDirection(double lambda, absl::Span<const double> hessian,
                  const Vector& penalty, const Vector& gradient,
                  SolverState& state) {
  state.direction = ToStd(Direction(state, lambda, hessian, penalty, gradient));
  state.step = 1;
  SetTrial(state);
}

// The curvatures move with the point; most at the start.
bool RefreshesGram(const SolverSpec& spec, const SolverState& state) {
  return !state.gram.empty() &&
         state.rounds + 2 <= static_cast<uint32_t>(spec.rounds_max) &&
         std::find(std::begin(kGramRounds), std::end(kGramRounds),
                   state.lambda_rounds) != std::end(kGramRounds);
}

void Record(double lambda, double objective, double gradient_max,
            bool converged, const Evaluated& point, SolverState& state) {
  SolvedHead head;
  head.lambda = lambda;
  head.weights = FromContrasts(state, state.accepted.weights);
  head.objective = objective;
  head.gradient_max = gradient_max;
  head.rounds = state.lambda_rounds;
  head.converged = converged;
  head.validation_records = point.validation_records;
  head.validation_loss = point.validation_loss;
  state.heads.push_back(std::move(head));
  state.lambda_rounds = 0;
  ++state.lambda_index;
}

}  // namespace

void Descend(const SolverSpec& spec, const Evaluated& point, bool last,
             SolverState& state) {
  const bool accepted =
      Accept(point, PenaltyOf(state, spec.lambdas[state.lambda_index]), state);
  if (!accepted && state.step >= kStepMin && !last) return;
  // A point solves every lambda at which its gradient vanishes; the next one's
  // first direction needs no sums of its own.
  while (state.lambda_index < spec.lambdas.size()) {
    const double lambda = spec.lambdas[state.lambda_index];
    const Vector penalty = PenaltyOf(state, lambda);
    const Vector weights = ToVector(state.accepted.weights);
    Vector gradient = ToVector(state.accepted.gradient);
    gradient.array() += penalty.array() * weights.array();
    const double gradient_max = gradient.cwiseAbs().maxCoeff();
    const bool converged = gradient_max <= spec.tolerance;
    if (!converged && accepted && !last) {
      if (RefreshesGram(spec, state)) {
        state.stage = SolveStage::kGram;
        state.trial = state.accepted.weights;
      } else {
        SetDirection(lambda, point.hessian, penalty, gradient, state);
      }
      return;
    }
    Record(lambda, Objective(state.accepted.loss, penalty, weights),
           gradient_max, converged, point, state);
    if (!accepted && !last) break;
  }
  state.done = last || state.lambda_index == spec.lambdas.size();
  if (!state.done) {
    // No step helps any more: the next lambda starts at the accepted point.
    state.trial = state.accepted.weights;
    state.has_accepted = false;
  }
}

void ResumeWithGram(const SolverSpec& spec, SolverState& state) {
  if (!state.has_accepted) return;
  const double lambda = spec.lambdas[state.lambda_index];
  const Vector penalty = PenaltyOf(state, lambda);
  Vector gradient = ToVector(state.accepted.gradient);
  gradient.array() +=
      penalty.array() * ToVector(state.accepted.weights).array();
  SetDirection(lambda, {}, penalty, gradient, state);
}

std::vector<double> FromContrasts(const SolverState& state,
                                  absl::Span<const double> contrasts) {
  const std::vector<double> q = HelmertContrasts(state.classes);
  std::vector<double> weights(static_cast<size_t>(state.classes * state.row()),
                              0.0);
  for (int a = 0; a + 1 < state.classes; ++a) {
    for (int c = 0; c < state.classes; ++c) {
      const double factor = q[a * state.classes + c];
      for (int64_t j = 0; j < state.row(); ++j) {
        weights[c * state.row() + j] += factor * contrasts[a * state.row() + j];
      }
    }
  }
  return weights;
}

}  // namespace fedgraft
