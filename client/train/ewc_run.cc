#include "client/train/ewc_run.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "client/train/ewc_start.h"
#include "client/train/fisher.h"
#include "client/train/forgetting.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status EwcRun::Prepare(
    const ParameterVector& model, const ActivationStore& store,
    const std::function<absl::Status(const ParameterVector&)>& set_initial,
    const ProgressSink& progress) {
  if (learner_.has_run_start()) return absl::OkStatus();
  const absl::Status loaded = LoadEwcStart(files_, learner_);
  if (!absl::IsNotFound(loaded)) return loaded;
  // After a solver the start is what it published, which a site that joins
  // later does not know: it takes the first model that it trains from.
  FG_RETURN_IF_ERROR(set_initial(start_.has_value() ? *start_ : model));
  return TakeEwcStart(plan_, store, files_, learner_, progress);
}

absl::Status EwcRun::PrepareAlone(
    const ParameterVector& model, const ActivationStore& store,
    const std::function<absl::Status(const ParameterVector&)>& set_initial,
    const ProgressSink& progress) {
  if (!AloneDiffers()) return Prepare(model, store, set_initial, progress);
  FG_RETURN_IF_ERROR(set_initial(model));
  const TrainedModel trained = learner_.model();
  FG_ASSIGN_OR_RETURN(NamedValues fisher,
                      DiagonalFisher(trained, plan_.regularizers.ewc_fisher,
                                     store, plan_.seed, progress));
  learner_.SetRunStart(CopyValues(trained.parameters), std::move(fisher));
  return absl::OkStatus();
}

void EwcRun::EndAlone() {
  // Found again in the site's files.
  if (AloneDiffers()) learner_.SetRunStart({}, {});
}

bool EwcRun::AloneDiffers() const {
  return plan_.regularizers.ewc_federated || !start_.has_value();
}

absl::StatusOr<std::map<std::string, double>> EwcRun::Scalars(
    const ActivationStore& store, const ProgressSink& progress) {
  std::map<std::string, double> scalars;
  if (!learner_.has_run_start()) {
    const absl::Status loaded = LoadEwcStart(files_, learner_);
    if (absl::IsNotFound(loaded)) return scalars;
    FG_RETURN_IF_ERROR(loaded);
  }
  FG_ASSIGN_OR_RETURN(const Forgetting forgetting,
                      ForgettingSince(learner_.run_start(), learner_.model(),
                                      store, plan_.seed, progress));
  scalars["forgetting_predicted"] = forgetting.predicted;
  scalars["forgetting_measured"] = forgetting.measured;
  for (const auto& [depth, trace] : forgetting.traces) {
    const std::string block = absl::StrFormat("%02d", depth);
    scalars["hessian_trace_" + block] = trace.mean;
    scalars["hessian_trace_se_" + block] = trace.standard_error;
  }
  return scalars;
}

}  // namespace fedgraft
