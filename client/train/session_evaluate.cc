#include <torch/torch.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/data/splits.h"
#include "client/train/drift.h"
#include "client/train/plan_learner.h"
#include "client/train/progress_part.h"
#include "client/train/session_state.h"
#include "client/train/site_metrics.h"
#include "client/train/transfer_scalars.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<std::map<std::string, double>> TrainerSession::State::DriftFrom(
    const ParameterVector& initial) {
  FG_ASSIGN_OR_RETURN(const DriftProbe probe,
                      DriftProbe::Create(learner->network(), compute,
                                         *config.data, *preprocessor));
  const DriftProbe::View now = probe.Look();
  FG_RETURN_IF_ERROR(SetInitial(initial));
  return Drift(probe.Look(), now);
}

absl::Status TrainerSession::State::TrainAlone(ParameterVector initial,
                                               int rounds,
                                               const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      stores->Training(Part(progress, 0, 0.2)));
  // As far as an earlier comparison came.
  const bool goes_on = alone.has_value() && alone->rounds <= rounds;
  if (goes_on) {
    initial = alone->start;
  } else if (solving.has_value()) {
    FG_RETURN_IF_ERROR(solving->SolveAlone(initial, Part(progress, 0.2, 0.3)));
  }
  const absl::Cleanup end = [this] {
    if (ewc.has_value()) ewc->EndAlone();
  };
  if (statistics.has_value()) statistics->UseOwn(*store);
  FG_RETURN_IF_ERROR(
      PrepareEwc(initial, *store, /*is_alone=*/true, Part(progress, 0.3, 0.3)));
  FG_RETURN_IF_ERROR(goes_on ? learner->SetTrainedValues(alone->values)
                             : SetInitial(initial));
  const int first = goes_on ? alone->rounds + 1 : 1;
  const double step = 0.7 / std::max(1, rounds - first + 1);
  for (int round = first; round <= rounds; ++round) {
    const double begin = 0.3 + step * (round - first);
    FG_RETURN_IF_ERROR(
        learner->TrainRound(round, *store, Part(progress, begin, begin + step))
            .status());
  }
  if (config.plan.evaluation.compare_local_every == 0) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(ParameterVector values, learner->TrainedValues());
  alone = AloneModel{rounds, std::move(initial), std::move(values)};
  return absl::OkStatus();
}

absl::StatusOr<TrainerSession::Evaluated> TrainerSession::State::RunEvaluate(
    const Evaluate& task, const ProgressSink& progress) {
  if (config.data->Samples(task.split).empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ", std::string(SplitName(task.split)),
                     " split has no image here"));
  }
  FG_ASSIGN_OR_RETURN(ParameterVector model, ReadModel(task.model_path));
  const double share = task.compare_local ? 0.2 : 1;
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      stores->Images(task.split, Part(progress, 0, share / 2)));
  FG_RETURN_IF_ERROR(ApplyModel(std::move(model), task.round,
                                Part(progress, share / 2, share / 2)));
  FG_ASSIGN_OR_RETURN(
      Predictions predictions,
      learner->Predict(*store, Part(progress, share / 2, share)));
  Evaluated evaluated{EvaluationSums(predictions),
                      SiteMetrics(predictions, "")};
  const bool is_last = task.compare_local || task.round >= config.plan.rounds;
  if (ewc.has_value() && is_last) {
    FG_ASSIGN_OR_RETURN(auto forgetting,
                        ewc->Scalars(*store, Part(progress, share, share)));
    evaluated.scalars.merge(forgetting);
  }
  if (task.compare_local) {
    FG_ASSIGN_OR_RETURN(ParameterVector initial,
                        ReadModel(task.initial_model_path));
    FG_ASSIGN_OR_RETURN(auto drift, DriftFrom(initial));
    evaluated.scalars.merge(drift);
    FG_RETURN_IF_ERROR(TrainAlone(std::move(initial), task.round,
                                  Part(progress, share, 0.95)));
    FG_ASSIGN_OR_RETURN(const Predictions local,
                        learner->Predict(*store, Part(progress, 0.95, 1)));
    evaluated.scalars.merge(SiteMetrics(local, "local_"));
    FG_ASSIGN_OR_RETURN(
        auto transfer,
        TransferScalars(predictions, local, config.data->Samples(task.split),
                        config.plan.seed));
    evaluated.scalars.merge(transfer);
  }
  FG_ASSIGN_OR_RETURN(const bool has_personal, HasPersonal(task.round));
  if (has_personal) {
    FG_ASSIGN_OR_RETURN(predictions, personal->Predict(task.round, *store,
                                                       Part(progress, 1, 1)));
    evaluated.scalars.merge(SiteMetrics(predictions, "personal_"));
  }
  return evaluated;
}

}  // namespace fedgraft
