#include "client/train/site_model.h"

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/run_folder_names.h"
#include "client/data/feature_source.h"
#include "client/model/graft.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/path_io.h"
#include "client/train/plan_learner.h"
#include "client/train/progress_part.h"
#include "client/train/session_stores.h"
#include "common/base/bytes.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/control_variates.h"
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
    const ModelChoice& choice) {
  std::unique_ptr<SiteModel> model(new SiteModel());
  FG_ASSIGN_OR_RETURN(model->compute_, SetUpCompute(choice.compute));
  FG_RETURN_IF_ERROR(choice.run_folder.empty() ? model->OpenExported(choice)
                                               : model->OpenRun(choice));
  return model;
}

absl::Status SiteModel::OpenExported(const ModelChoice& choice) {
  const ModelCard& card = choice.card;
  const auto num_classes = static_cast<int64_t>(card.classes.size());
  const bool identity = card.architecture == kIdentity;
  FG_ASSIGN_OR_RETURN(preprocessor_,
                      identity ? Preprocessor::ForFeatures(card.feature_dim)
                               : Preprocessor::Create(card.preprocessing));
  FG_ASSIGN_OR_RETURN(SafetensorsFile file,
                      SafetensorsFile::Open(choice.model_path));
  FG_ASSIGN_OR_RETURN(std::shared_ptr<Network> network,
                      identity ? BuildIdentity(card.feature_dim, num_classes)
                               : BuildModel(card.architecture, num_classes));
  plan_.classes = card.classes;
  plan_.architecture = card.architecture;
  plan_.feature_dim = card.feature_dim;
  plan_.hidden_dim = card.hidden_dim;
  if (card.bottleneck.has_value()) {
    plan_.strategy = StrategyKind::kAdapter;
    plan_.adapter = *card.bottleneck;
  }
  FG_RETURN_IF_ERROR(GraftOnto(plan_, *network));
  const absl::Status loaded = LoadState(file, HeadPolicy::kRequire, *network);
  if (!loaded.ok()) return Annotate(loaded, choice.model_path);
  FG_ASSIGN_OR_RETURN(ParameterLayout layout, WholeLayout(*network));
  FG_ASSIGN_OR_RETURN(
      learner_, Learner::Create(plan_, std::move(layout), network, compute_));
  digest_ = card.sha256;
  return absl::OkStatus();
}

absl::Status SiteModel::OpenRun(const ModelChoice& choice) {
  const std::string& run_folder = choice.run_folder;
  FG_ASSIGN_OR_RETURN(plan_, ReadRunPlan(run_folder));
  if (choice.is_personal && plan_.personal.kind != PersonalKind::kDitto &&
      plan_.shift.on_shift != OnShift::kApply) {
    return absl::FailedPreconditionError(
        "the run's plan has no personal models (personal.kind: ditto, or "
        "shift.on_shift: apply)");
  }
  FG_ASSIGN_OR_RETURN(preprocessor_,
                      HasBackbone(plan_)
                          ? Preprocessor::Create(plan_.preprocessing)
                          : Preprocessor::ForFeatures(plan_.feature_dim));
  const std::filesystem::path folder =
      std::filesystem::absolute(run_folder).lexically_normal();
  // Of "…/runs/<run>" or "…/runs/<run>/".
  const std::filesystem::path runs =
      (folder.has_filename() ? folder : folder.parent_path()).parent_path();
  const std::string backbone_path =
      HasBackbone(plan_) ? (runs.parent_path() / kBackbonesFolder /
                            absl::StrCat(plan_.backbone.Hex(), ".safetensors"))
                               .string()
                         : "";
  FG_ASSIGN_OR_RETURN(const SafetensorsFile backbone,
                      OpenBackbone(plan_, backbone_path));
  FG_ASSIGN_OR_RETURN(learner_,
                      MakeLearner(plan_, backbone, backbone_path, compute_));
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(TrainerFolder(run_folder)));
  FG_RETURN_IF_ERROR(choice.is_personal
                         ? TakePersonal(*files, backbone)
                         : TakeShared(run_folder, *files, backbone));
  FG_ASSIGN_OR_RETURN(const ParameterVector values, learner_->TrainedValues());
  digest_ = Sha256(ByteWriter()
                       .Raw(plan_.backbone.bytes)
                       .Raw({reinterpret_cast<const uint8_t*>(values.data()),
                             values.size() * sizeof(float)})
                       .bytes());
  return absl::OkStatus();
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
      DecodeParameters(learner_->layout(), *content);
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

ActivationStore::Options SiteModel::ImagesOf(const DataSource& data,
                                             Split split) const {
  ActivationStore::Options images;
  images.network = &learner_->network();
  images.compute = &compute_;
  images.source = &data;
  images.preprocessor = &*preprocessor_;
  images.split = split;
  return images;
}

absl::StatusOr<Predictions> SiteModel::Predict(const DataSource& data,
                                               Split split,
                                               const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(CheckFeatureDim(data, plan_.feature_dim));
  ActivationStore::Options images = ImagesOf(data, split);
  images.bytes_max = 0;  // every image is needed once
  FG_ASSIGN_OR_RETURN(const auto store,
                      ActivationStore::Create(images, progress));
  return learner_->Predict(*store, progress);
}

absl::StatusOr<DescribedRecords> SiteModel::Describe(
    const DataSource& data, Split split, FeatureCache* cache, bool half,
    const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(CheckFeatureDim(data, plan_.feature_dim));
  ActivationStore::Options images = ImagesOf(data, split);
  images.stage = learner_->boundary();
  images.cache = cache;
  images.half = half && cache != nullptr;
  images.space = ActivationSpace(plan_, images.stage, compute_, images.half);
  images.measures_acquisition = data.feature_dim() == 0;
  FG_ASSIGN_OR_RETURN(const auto store,
                      ActivationStore::Create(images, Part(progress, 0, 0.5)));
  return DescribeRecords(*store, *learner_, compute_, Part(progress, 0.5, 1));
}

bool SiteModel::trains_features() const {
  return learner_->boundary() < learner_->network().head_stage();
}

}  // namespace fedgraft
