#include "common/shift/remedies.h"

namespace fedgraft {

std::string_view SiteRemedyName(SiteRemedy remedy) {
  switch (remedy) {
    case SiteRemedy::kNone:
      return "";
    case SiteRemedy::kImportanceWeights:
      return "importance weights";
    case SiteRemedy::kPriorCorrection:
      return "prior correction";
    case SiteRemedy::kPersonalModel:
      return "personal model";
  }
  return "";
}

std::string_view RemedyObstacleWords(RemedyObstacle obstacle) {
  switch (obstacle) {
    case RemedyObstacle::kNone:
      return "";
    case RemedyObstacle::kPeopleFirst:
      return "everything differs, and people should look first";
    case RemedyObstacle::kWeighsAlready:
      return "the plan weighs records by importance at every site";
    case RemedyObstacle::kClassesWeighted:
      return "the plan weighs classes, or draws them evenly, at every site";
    case RemedyObstacle::kOwnModels:
      return "the plan gives each site a part or a model of its own";
    case RemedyObstacle::kEarlyStop:
      return "the plan ends training early, and a personal model's earlier "
             "state is not kept";
    case RemedyObstacle::kSolver:
      return "the plan solves for the head, and has no personal models";
  }
  return "";
}

RemedyObstacle ObstacleTo(SiteRemedy remedy, const Plan& plan) {
  switch (remedy) {
    case SiteRemedy::kNone:
      return RemedyObstacle::kNone;
    case SiteRemedy::kImportanceWeights:
      return plan.importance.target == ImportanceTarget::kNone
                 ? RemedyObstacle::kNone
                 : RemedyObstacle::kWeighsAlready;
    case SiteRemedy::kPriorCorrection:
      if (plan.loss.class_weights != ClassWeights::kNone ||
          plan.loss.sampling != Sampling::kShuffled) {
        return RemedyObstacle::kClassesWeighted;
      }
      // Both are weights of records; a record has one.
      return plan.importance.target == ImportanceTarget::kNone
                 ? RemedyObstacle::kNone
                 : RemedyObstacle::kWeighsAlready;
    case SiteRemedy::kPersonalModel:
      if (plan.personal.kind != PersonalKind::kNone ||
          plan.batch_norm == BatchNormPolicy::kLocal) {
        return RemedyObstacle::kOwnModels;
      }
      if (plan.stopping.patience > 0) return RemedyObstacle::kEarlyStop;
      return plan.solver.kind == SolverKind::kNone ? RemedyObstacle::kNone
                                                   : RemedyObstacle::kSolver;
  }
  return RemedyObstacle::kNone;
}

}  // namespace fedgraft
