#include "client/train/site_model.h"

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/run_folder_names.h"
#include "client/data/feature_source.h"
#include "client/train/activation_store.h"
#include "client/train/path_io.h"
#include "client/train/plan_learner.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

constexpr int kLastRound = std::numeric_limits<int>::max();

std::string TrainerFolder(const std::string& run_folder) {
  return absl::StrCat(run_folder, "/", kTrainerFolder);
}

bool IsLocalised(const Plan& plan) {
  return plan.solver.kind != SolverKind::kNone &&
         (plan.solver.site_intercept ||
          plan.solver.normalization == Normalization::kPerSite);
}

}  // namespace

absl::StatusOr<Plan> ReadRunPlan(const std::string& run_folder) {
  const std::string path =
      absl::StrCat(TrainerFolder(run_folder), "/", kPlanFile);
  absl::StatusOr<Bytes> content = ReadFile(path);
  if (absl::IsNotFound(content.status())) {
    return absl::NotFoundError(
        absl::StrCat(path,
                     " is missing: expected a folder in `runs` of a client's "
                     "state_dir, of a run in which this site took part"));
  }
  FG_RETURN_IF_ERROR(content.status());
  absl::StatusOr<Plan> plan = PlanFromBytes(*content);
  if (!plan.ok()) return Annotate(plan.status(), path);
  return plan;
}

absl::StatusOr<std::unique_ptr<SiteModel>> SiteModel::Open(
    const std::string& run_folder, bool is_personal,
    const ComputeSpec& compute) {
  std::unique_ptr<SiteModel> model(new SiteModel());
  FG_ASSIGN_OR_RETURN(model->plan_, ReadRunPlan(run_folder));
  const Plan& plan = model->plan_;
  if (is_personal && plan.personal.kind != PersonalKind::kDitto &&
      plan.shift.on_shift != OnShift::kApply) {
    return absl::FailedPreconditionError(
        "the run's plan has no personal models (personal.kind: ditto, or "
        "shift.on_shift: apply)");
  }
  FG_ASSIGN_OR_RETURN(model->compute_, SetUpCompute(compute));
  FG_ASSIGN_OR_RETURN(model->preprocessor_,
                      HasBackbone(plan)
                          ? Preprocessor::Create(plan.preprocessing)
                          : Preprocessor::ForFeatures(plan.feature_dim));
  const std::filesystem::path folder =
      std::filesystem::absolute(run_folder).lexically_normal();
  // Of "…/runs/<run>" or "…/runs/<run>/".
  const std::filesystem::path runs =
      (folder.has_filename() ? folder : folder.parent_path()).parent_path();
  const std::string backbone_path =
      HasBackbone(plan) ? (runs.parent_path() / kBackbonesFolder /
                           absl::StrCat(plan.backbone.Hex(), ".safetensors"))
                              .string()
                        : "";
  FG_ASSIGN_OR_RETURN(const SafetensorsFile backbone,
                      OpenBackbone(plan, backbone_path));
  FG_ASSIGN_OR_RETURN(
      model->learner_,
      MakeLearner(plan, backbone, backbone_path, model->compute_));
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(TrainerFolder(run_folder)));
  FG_RETURN_IF_ERROR(is_personal
                         ? model->TakePersonal(*files, backbone)
                         : model->TakeShared(run_folder, *files, backbone));
  return model;
}

absl::Status SiteModel::TakeShared(const std::string& run_folder,
                                   FileStore& files,
                                   const SafetensorsFile& backbone) {
  std::string path = absl::StrCat(run_folder, "/", kFinalModelFile);
  absl::StatusOr<Bytes> content = ReadFile(path);
  if (!content.ok()) {
    return Annotate(content.status(), "the run's final model");
  }
  if (IsLocalised(plan_)) {
    path = absl::StrCat(kSiteHeadFolder, "/", Sha256(*content).Hex(),
                        ".safetensors");
    content = ReadAll(files, path);
    if (!content.ok()) {
      return Annotate(content.status(),
                      "this site's own head, which it keeps when it evaluates "
                      "the final model");
    }
  }
  absl::StatusOr<ParameterVector> values =
      DecodeTrainableSet(learner_->layout(), *content);
  if (!values.ok()) return Annotate(values.status(), path);
  FG_RETURN_IF_ERROR(learner_->SetValues(*values));
  if (learner_->local_layout().Count() == 0) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(
      ParameterVector initial,
      InitialTrainableSet(plan_, learner_->local_layout(), backbone));
  LocalState local(files, kLocalFolder, learner_->local_layout(),
                   std::move(initial));
  FG_ASSIGN_OR_RETURN(const ParameterVector own, local.Load(kLastRound));
  return learner_->SetLocalValues(own);
}

absl::Status SiteModel::TakePersonal(FileStore& files,
                                     const SafetensorsFile& backbone) {
  FG_ASSIGN_OR_RETURN(
      ParameterVector initial,
      InitialTrainableSet(plan_, learner_->trained_layout(), backbone));
  LocalState state(files, kPersonalFolder, learner_->trained_layout(),
                   std::move(initial));
  FG_ASSIGN_OR_RETURN(const bool began, state.Holds(kLastRound));
  if (!began && plan_.personal.kind != PersonalKind::kDitto) {
    return absl::FailedPreconditionError(
        "this site has no personal model: no look at shift gave it one");
  }
  FG_ASSIGN_OR_RETURN(const ParameterVector own, state.Load(kLastRound));
  return learner_->SetTrainedValues(own);
}

absl::StatusOr<Predictions> SiteModel::Predict(const DataSource& data,
                                               const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(CheckFeatureDim(data, plan_.feature_dim));
  ActivationStore::Options images;
  images.network = &learner_->network();
  images.compute = &compute_;
  images.source = &data;
  images.preprocessor = &*preprocessor_;
  images.split = Split::kTest;
  images.bytes_max = 0;  // every image is needed once
  FG_ASSIGN_OR_RETURN(const auto store,
                      ActivationStore::Create(images, progress));
  return learner_->Predict(*store, progress);
}

}  // namespace fedgraft
