#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/config/deterministic_bytes.h"
#include "common/solve/head_solver.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/solver.pb.h"

// SolverState as stored in the aggregator's log or blob store.

namespace fedgraft {
namespace {

template <typename Repeated>
std::vector<double> ToVector(const Repeated& values) {
  return {values.begin(), values.end()};
}
template <typename Repeated>
void Put(const std::vector<double>& values, Repeated* out) {
  out->Add(values.begin(), values.end());
}

void PutHead(const SolvedHead& head, pb::SolvedHead& out) {
  out.set_lambda(head.lambda);
  Put(head.weights, out.mutable_weights());
  out.set_objective(head.objective);
  out.set_gradient_max(head.gradient_max);
  out.set_rounds(head.rounds);
  out.set_converged(head.converged);
  out.set_validation_records(head.validation_records);
  out.set_validation_loss(head.validation_loss);
}

SolvedHead HeadOf(const pb::SolvedHead& message) {
  SolvedHead head;
  head.lambda = message.lambda();
  head.weights = ToVector(message.weights());
  head.objective = message.objective();
  head.gradient_max = message.gradient_max();
  head.rounds = message.rounds();
  head.converged = message.converged();
  head.validation_records = message.validation_records();
  head.validation_loss = message.validation_loss();
  return head;
}

// The sizes on which the solver relies.
bool SizesFit(const SolverState& state) {
  const size_t dim = static_cast<size_t>(state.feature_dim);
  const size_t variables = static_cast<size_t>(state.variables());
  const auto is = [](const std::vector<double>& values, size_t size) {
    return values.empty() || values.size() == size;
  };
  bool fit =
      is(state.mean, dim) && state.mean.size() == state.scale.size() &&
      is(state.gram, (dim + 1) * (dim + 2) / 2) &&
      is(state.direction, variables) && is(state.trial, variables) &&
      (!state.has_accepted || (state.accepted.weights.size() == variables &&
                               state.accepted.gradient.size() == variables));
  for (const SolverState::Pair& pair : state.pairs) {
    fit = fit && pair.step.size() == variables &&
          pair.gradient.size() == variables;
  }
  for (const SolvedHead& head : state.heads) {
    fit = fit && head.weights.size() ==
                     static_cast<size_t>(state.classes * state.row());
  }
  const bool asks_about_a_point =
      !state.done && (state.stage == SolveStage::kGradient ||
                      state.stage == SolveStage::kHessian);
  return fit && (!asks_about_a_point || state.trial.size() == variables);
}

}  // namespace

Bytes EncodeSolverState(const SolverState& state) {
  pb::SolverState message;
  message.set_classes(static_cast<uint32_t>(state.classes));
  message.set_feature_dim(static_cast<uint32_t>(state.feature_dim));
  message.set_stage(static_cast<pb::SolveStage>(state.stage));
  message.set_rounds(state.rounds);
  message.set_records(state.records);
  Put(state.class_counts, message.mutable_class_counts());
  Put(state.mean, message.mutable_mean());
  Put(state.scale, message.mutable_scale());
  message.set_hessian_scale(state.hessian_scale);
  Put(state.gram, message.mutable_gram());
  message.set_lambda_index(state.lambda_index);
  message.set_lambda_rounds(state.lambda_rounds);
  message.set_has_accepted(state.has_accepted);
  Put(state.accepted.weights, message.mutable_accepted());
  message.set_accepted_loss(state.accepted.loss);
  Put(state.accepted.gradient, message.mutable_accepted_gradient());
  message.set_accepted_records(state.accepted.records);
  Put(state.direction, message.mutable_direction());
  message.set_step(state.step);
  Put(state.trial, message.mutable_trial());
  for (const SolverState::Pair& pair : state.pairs) {
    pb::SolverPair* out = message.add_pairs();
    Put(pair.step, out->mutable_step());
    Put(pair.gradient, out->mutable_gradient());
  }
  for (const SolvedHead& head : state.heads) {
    PutHead(head, *message.add_heads());
  }
  message.set_done(state.done);
  return DeterministicBytes(message);
}

absl::StatusOr<SolverState> DecodeSolverState(ByteSpan bytes) {
  pb::SolverState message;
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      message.classes() < 2 || message.classes() > SolvePoint::kClassesMax ||
      message.feature_dim() < 1 ||
      message.feature_dim() > SolvePoint::kFeaturesMax ||
      message.stage() < pb::SOLVE_STAGE_MOMENTS ||
      message.stage() > pb::SOLVE_STAGE_VALIDATE) {
    return absl::DataLossError("the bytes are not a solver's state");
  }
  SolverState state;
  state.classes = static_cast<int>(message.classes());
  state.feature_dim = message.feature_dim();
  state.stage = static_cast<SolveStage>(message.stage());
  state.rounds = message.rounds();
  state.records = message.records();
  state.class_counts = ToVector(message.class_counts());
  state.mean = ToVector(message.mean());
  state.scale = ToVector(message.scale());
  state.hessian_scale = message.hessian_scale();
  state.gram = ToVector(message.gram());
  state.lambda_index = message.lambda_index();
  state.lambda_rounds = message.lambda_rounds();
  state.has_accepted = message.has_accepted();
  state.accepted = {ToVector(message.accepted()), message.accepted_loss(),
                    ToVector(message.accepted_gradient()),
                    message.accepted_records()};
  state.direction = ToVector(message.direction());
  state.step = message.step();
  state.trial = ToVector(message.trial());
  for (const pb::SolverPair& pair : message.pairs()) {
    state.pairs.push_back({ToVector(pair.step()), ToVector(pair.gradient())});
  }
  for (const pb::SolvedHead& head : message.heads()) {
    state.heads.push_back(HeadOf(head));
  }
  state.done = message.done();
  if (!SizesFit(state)) {
    return absl::DataLossError("a solver's state whose sizes do not fit");
  }
  return state;
}

}  // namespace fedgraft
