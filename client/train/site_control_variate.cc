#include "client/train/site_control_variate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "client/train/parameter_groups.h"
#include "client/train/path_io.h"
#include "client/train/schedule.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {
namespace {

// To an L2 norm just below `norm_max` (0: as it is), so that the daemon, which
// clips too, finds nothing to do.
void Clip(double norm_max, ParameterVector& values) {
  constexpr double kBelow = 1 - 1e-6;
  const double norm = std::sqrt(SquaredNorm(values));
  if (!(norm_max > 0 && norm > norm_max * kBelow)) return;
  const double factor = norm_max * kBelow / norm;
  for (float& value : values) value = static_cast<float>(value * factor);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SiteControlVariate>> SiteControlVariate::Create(
    const Plan& plan, FileStore& files, Learner& learner) {
  FG_ASSIGN_OR_RETURN(ParameterLayout layout,
                      AddControlVariates(learner.layout()));
  FG_ASSIGN_OR_RETURN(ParameterLayout variates,
                      ControlVariateLayout(learner.layout()));
  FG_ASSIGN_OR_RETURN(const RingSpec ring, TrainRing(plan));
  return std::unique_ptr<SiteControlVariate>(new SiteControlVariate(
      plan, files, learner, std::move(layout), std::move(variates), ring));
}

SiteControlVariate::SiteControlVariate(const Plan& plan, FileStore& files,
                                       Learner& learner, ParameterLayout layout,
                                       ParameterLayout variates,
                                       const RingSpec& ring)
    : plan_(plan),
      learner_(learner),
      layout_(std::move(layout)),
      variates_(std::move(variates)),
      place_(layout_),
      ring_(ring),
      state_(files, kControlFolder, variates_,
             ParameterVector(place_.count(), 0.0f)) {}

absl::Status SiteControlVariate::Begin(int counted_round,
                                       const std::string& model_path) {
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadFile(model_path));
  const absl::StatusOr<ParameterVector> values =
      DecodeTrainableSet(layout_, content);
  if (!values.ok()) return Annotate(values.status(), model_path);
  FG_ASSIGN_OR_RETURN(const int kept, state_.LatestRound(counted_round));
  if (kept != counted_round) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the aggregator counted this site's update of round ", counted_round,
        ", but the control variate after it is not in the state folder (the "
        "newest before is of round ",
        kept, "): this site cannot go on in this run with rule scaffold"));
  }
  FG_RETURN_IF_ERROR(state_.DropAfter(counted_round));
  FG_ASSIGN_OR_RETURN(own_, state_.Load(counted_round));
  server_ = place_.Of(*values);
  ParameterVector correction = server_;
  for (size_t i = 0; i < correction.size(); ++i) correction[i] -= own_[i];
  learner_.SetDriftCorrection(
      ToNamedValues(variates_, correction, learner_.model().compute->device));
  return absl::OkStatus();
}

ParameterVector SiteControlVariate::ChangeAfter(
    int round, const ParameterVector& delta) const {
  std::map<std::string, double> rates;
  for (const TrainedParameter& parameter : learner_.model().parameters) {
    rates[parameter.name] = LearningRate(plan_, round) *
                            RateMultiplier(plan_.layer_rates, parameter);
  }
  const auto steps = static_cast<double>(learner_.steps());
  const ParameterLayout& parameters = learner_.layout();
  ParameterVector change(server_.size(), 0.0f);
  size_t i = 0;
  for (size_t t = 0; t < parameters.tensors().size(); ++t) {
    const TensorSpec& tensor = parameters.tensors()[t];
    if (tensor.kind != TensorKind::kWeight) continue;
    const auto begin = static_cast<size_t>(parameters.Offset(t));
    const auto end = begin + static_cast<size_t>(tensor.Count());
    const double distance = steps * rates[tensor.name];
    // Where no step leads anywhere, nothing is known of the gradient.
    if (!(distance > 0)) i += end - begin;
    for (size_t k = begin; distance > 0 && k < end; ++k, ++i) {
      change[i] = static_cast<float>(-delta[k] / distance - server_[i]);
    }
  }
  return change;
}

absl::StatusOr<ParameterVector> SiteControlVariate::Finish(
    int round, const ParameterVector& delta) {
  if (learner_.steps() == 0) {
    return absl::FailedPreconditionError(
        "rule scaffold: training took no step, of which a control variate "
        "could be made");
  }
  ParameterVector update = place_.Join(delta, ChangeAfter(round, delta));
  Clip(plan_.update.clip_norm, update);
  // What the aggregator will read of it: all sites' weight is 1. Where updates
  // are clipped it may not grow, lest it is clipped again.
  const bool may_grow = !(plan_.update.clip_norm > 0);
  const double step = ring_.Step();
  const double range = std::floor(plan_.update.range / step) * step;
  for (size_t i = 0; i < own_.size(); ++i) {
    float& change = update[place_.begin() + i];
    if (!std::isfinite(change)) {
      return absl::FailedPreconditionError(
          "training diverged: the control variate is not finite; lower the "
          "learning rate");
    }
    const double steps = change / step;
    change = static_cast<float>(std::clamp(
        (may_grow ? std::nearbyint(steps) : std::trunc(steps)) * step, -range,
        range));
    own_[i] += change;
  }
  FG_RETURN_IF_ERROR(state_.Save(round, own_));
  return update;
}

}  // namespace fedgraft
