#include "client/train/personal_model.h"

#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status PersonalModel::Train(int round, const ParameterVector& shared,
                                  bool begins_shared,
                                  const ActivationStore& data,
                                  const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const bool began, Began(round - 1));
  ParameterVector before = shared;
  if (began || !begins_shared) {
    FG_ASSIGN_OR_RETURN(before, state_.Load(round - 1));
  }
  FG_RETURN_IF_ERROR(learner_.SetTrainedValues(before));
  FG_RETURN_IF_ERROR(
      learner_.TrainPersonalRound(round, shared, data, progress).status());
  FG_ASSIGN_OR_RETURN(const ParameterVector after, learner_.TrainedValues());
  return state_.Save(round, after);
}

absl::StatusOr<Predictions> PersonalModel::Predict(
    int round, const ActivationStore& data, const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const ParameterVector values, state_.Load(round));
  FG_RETURN_IF_ERROR(learner_.SetTrainedValues(values));
  return learner_.Predict(data, progress);
}

}  // namespace fedgraft
