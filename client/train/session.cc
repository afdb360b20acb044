#include "client/train/session.h"

#include <torch/torch.h>

#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/data/feature_source.h"
#include "client/data/preprocess.h"
#include "client/data/splits.h"
#include "client/train/guard.h"
#include "client/train/path_io.h"
#include "client/train/plan_learner.h"
#include "client/train/progress_part.h"
#include "client/train/session_state.h"
#include "client/train/site_model.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/config/rule_facts.h"
#include "common/model/backbone_file.h"
#include "common/model/control_variates.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/posix_file_store.h"
#include "common/shift/remedies.h"

static_assert(std::endian::native == std::endian::little,
              "updates are written as little-endian floats");

namespace fedgraft {

absl::Status TrainerSession::State::SetUp() {
  FG_RETURN_IF_ERROR(CheckLabels());
  FG_ASSIGN_OR_RETURN(compute, SetUpCompute(config.compute));
  SetDeterministic(config.plan.deterministic);
  FG_RETURN_IF_ERROR(CheckFeatureDim(*config.data, config.plan.feature_dim));
  FG_ASSIGN_OR_RETURN(Preprocessor made,
                      HasBackbone(config.plan)
                          ? Preprocessor::Create(config.plan.preprocessing)
                          : Preprocessor::ForFeatures(config.plan.feature_dim));
  preprocessor = std::move(made);
  FG_ASSIGN_OR_RETURN(SafetensorsFile backbone,
                      OpenBackbone(config.plan, config.backbone_path));
  FG_ASSIGN_OR_RETURN(learner, MakeLearner(config.plan, backbone,
                                           config.backbone_path, compute));
  if (!config.state_dir.empty()) {
    FG_ASSIGN_OR_RETURN(files, PosixFileStore::Open(config.state_dir));
    FG_RETURN_IF_ERROR(WriteAtomically(*files, kPlanFile, config.plan.bytes));
  }
  if (!config.cache.folder.empty()) {
    FG_ASSIGN_OR_RETURN(cache, FeatureCache::Open(config.cache));
  }
  stores.emplace(config, compute, *preprocessor, *learner, cache.get());
  if (config.plan.solver.kind != SolverKind::kNone) {
    solving.emplace(config.plan, *learner, *config.data, *stores, files.get());
  }
  return SetUpState(backbone);
}

absl::Status TrainerSession::State::SetUpState(
    const SafetensorsFile& backbone) {
  const Plan& plan = config.plan;
  const bool has_local = learner->local_layout().Count() > 0;
  const bool may_become_personal =
      files != nullptr && plan.shift.on_shift == OnShift::kApply &&
      ObstacleTo(SiteRemedy::kPersonalModel, plan) == RemedyObstacle::kNone;
  const bool has_personal =
      plan.personal.kind == PersonalKind::kDitto || may_become_personal;
  const bool has_ewc = plan.regularizers.ewc_lambda > 0;
  const bool has_control = HasControlVariates(plan.rule);
  layout_digest = learner->layout().digest();
  if (files == nullptr &&
      (has_local || has_personal || has_ewc || has_control)) {
    return absl::InvalidArgumentError(
        absl::StrCat(has_ewc        ? "EWC"
                     : has_control  ? "rule scaffold"
                     : has_personal ? "a personal model"
                                    : "a part of the model that stays here",
                     " needs a state folder"));
  }
  if (has_local) {
    FG_ASSIGN_OR_RETURN(
        ParameterVector initial,
        InitialTrainableSet(plan, learner->local_layout(), backbone));
    local = std::make_unique<LocalState>(
        *files, kLocalFolder, learner->local_layout(), std::move(initial));
  }
  if (has_personal) {
    FG_ASSIGN_OR_RETURN(
        ParameterVector initial,
        InitialTrainableSet(plan, learner->trained_layout(), backbone));
    personal =
        std::make_unique<PersonalModel>(*files, *learner, std::move(initial));
  }
  if (has_control) {
    FG_ASSIGN_OR_RETURN(control,
                        SiteControlVariate::Create(plan, *files, *learner));
    layout_digest = control->layout().digest();
  }
  if (has_ewc) {
    std::optional<ParameterVector> start;
    if (plan.solver.kind == SolverKind::kNone) {
      FG_ASSIGN_OR_RETURN(
          start, InitialTrainableSet(plan, learner->layout(), backbone));
    }
    ewc.emplace(plan, *learner, *files, std::move(start));
  }
  if (!AskedStatistics(plan).empty()) {
    statistics.emplace(plan, *learner, files.get());
  }
  if (RecordWeights::Covers(plan)) weights.emplace(plan, files.get());
  if (plan.shift.every > 0) {
    look.emplace(plan, *learner, compute, files.get(),
                 weights.has_value() ? &*weights : nullptr);
    FG_RETURN_IF_ERROR(look->Prepare());
  }
  return absl::OkStatus();
}

absl::Status TrainerSession::State::CheckLabels() const {
  for (Split split : kAllSplits) {
    for (const Sample& sample : config.data->Samples(split)) {
      if (sample.label < 0 || sample.label >= config.plan.num_classes()) {
        return absl::InvalidArgumentError(absl::StrCat(
            std::string(SplitName(split)), " image ", sample.name,
            " has label ", sample.label, "; the plan has classes 0 to ",
            config.plan.num_classes() - 1));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ParameterVector> TrainerSession::State::ReadModel(
    const std::string& path) const {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadFile(path));
  absl::StatusOr<ParameterVector> values =
      DecodeParameters(learner->layout(), content);
  if (!values.ok()) return Annotate(values.status(), path);
  return values;
}

absl::Status TrainerSession::State::LoadLocal(int round) {
  if (local == nullptr) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(ParameterVector values, local->Load(round));
  return learner->SetLocalValues(values);
}

absl::Status TrainerSession::State::SaveLocal(int round) {
  if (local == nullptr) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(ParameterVector values, learner->LocalValues());
  return local->Save(round, values);
}

absl::StatusOr<ParameterVector> TrainerSession::State::Delta(
    ParameterVector before) {
  FG_ASSIGN_OR_RETURN(ParameterVector delta, learner->Values());
  ToMoments(learner->layout(), before);
  ToMoments(learner->layout(), delta);
  for (size_t i = 0; i < delta.size(); ++i) {
    delta[i] -= before[i];
    if (!std::isfinite(delta[i])) {
      return absl::FailedPreconditionError(
          "training diverged: the update is not finite; lower the learning "
          "rate");
    }
  }
  return delta;
}

absl::Status TrainerSession::State::SetInitial(const ParameterVector& initial) {
  FG_RETURN_IF_ERROR(learner->SetValues(initial));
  if (local == nullptr) return absl::OkStatus();
  return learner->SetLocalValues(local->initial());
}

absl::Status TrainerSession::State::PrepareEwc(const ParameterVector& model,
                                               const ActivationStore& store,
                                               bool is_alone,
                                               const ProgressSink& progress) {
  if (!ewc.has_value()) return absl::OkStatus();
  const auto set_initial = [this](const ParameterVector& initial) {
    return SetInitial(initial);
  };
  return is_alone ? ewc->PrepareAlone(model, store, set_initial, progress)
                  : ewc->Prepare(model, store, set_initial, progress);
}

absl::StatusOr<TrainerSession::Trained> TrainerSession::State::RunTrain(
    const Train& task, const ProgressSink& progress) {
  const absl::Time start = clock.Monotonic();
  if (task.round < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("rounds count from 1, not ", task.round));
  }
  FG_ASSIGN_OR_RETURN(ParameterVector model, ReadModel(task.model_path));
  const bool ready = stores->HasTraining();
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      stores->Training(Part(progress, 0, 0.5)));
  const double begin = ready ? 0 : 0.5;
  if (statistics.has_value()) {
    FG_RETURN_IF_ERROR(statistics->Use(task.statistics_path));
  }
  const bool is_remedy = task.remedy == SiteRemedy::kPersonalModel;
  const bool trains_personal =
      is_remedy || config.plan.personal.kind == PersonalKind::kDitto;
  if (trains_personal && personal == nullptr) {
    return absl::InvalidArgumentError(
        "a personal model, which neither the plan nor this state folder has "
        "room for");
  }
  const double middle = trains_personal ? (begin + 1) / 2 : 1;
  FG_RETURN_IF_ERROR(PrepareEwc(model, *store, /*is_alone=*/false,
                                Part(progress, begin, begin)));
  FG_RETURN_IF_ERROR(LoadLocal(task.round - 1));
  FG_RETURN_IF_ERROR(learner->SetValues(model));
  const absl::Cleanup uncorrected = [this] { learner->SetDriftCorrection({}); };
  if (control != nullptr) {
    FG_RETURN_IF_ERROR(control->Begin(task.counted_round, task.model_path));
  }
  ParameterVector shared;  // for the personal model
  if (trains_personal) {
    FG_ASSIGN_OR_RETURN(shared, learner->TrainedValues());
  }
  FG_ASSIGN_OR_RETURN(Trained trained,
                      TrainShared(task, *store, Part(progress, begin, middle)));
  FG_ASSIGN_OR_RETURN(ParameterVector delta, Delta(std::move(model)));
  FG_RETURN_IF_ERROR(SaveLocal(task.round));
  if (control != nullptr) {
    FG_ASSIGN_OR_RETURN(delta, control->Finish(task.round, delta));
  }
  if (trains_personal) {
    FG_RETURN_IF_ERROR(personal->Train(task.round, shared,
                                       /*begins_shared=*/is_remedy, *store,
                                       Part(progress, middle, 1)));
  }
  FG_RETURN_IF_ERROR(WriteFile(task.delta_path,
                               {reinterpret_cast<const uint8_t*>(delta.data()),
                                delta.size() * sizeof(float)}));
  if (look.has_value() && !task.compared_look.empty()) {
    FG_ASSIGN_OR_RETURN(ActivationStore * images,
                        stores->Images(Split::kTrain, Part(progress, 1, 1)));
    FG_ASSIGN_OR_RETURN(
        trained.has_news,
        look->HasNews(*images, task.compared_look, Part(progress, 1, 1)));
  }
  trained.samples = static_cast<uint64_t>(store->count());
  trained.seconds = absl::ToDoubleSeconds(clock.Monotonic() - start);
  return trained;
}

absl::StatusOr<TrainerSession::Trained> TrainerSession::State::TrainShared(
    const Train& task, const ActivationStore& store,
    const ProgressSink& progress) {
  Trained trained;
  const absl::Cleanup unweighted = [this] { learner->SetSampleWeights({}); };
  if (weights.has_value()) {
    FG_ASSIGN_OR_RETURN(RecordWeights::Use use,
                        weights->For(task.remedy, store.labels()));
    learner->SetSampleWeights(std::move(use.weights));
    trained.scalars = std::move(use.scalars);
  }
  FG_ASSIGN_OR_RETURN(trained.loss,
                      learner->TrainRound(task.round, store, progress));
  return trained;
}

absl::StatusOr<bool> TrainerSession::State::HasPersonal(int round) const {
  if (personal == nullptr) return false;
  if (config.plan.personal.kind == PersonalKind::kDitto) return true;
  return personal->Began(round);
}

absl::StatusOr<uint64_t> TrainerSession::State::RunGather(
    const Gather& task, const ProgressSink& progress) {
  if (!statistics.has_value()) {
    return absl::InvalidArgumentError("the plan gathers no statistics");
  }
  FG_ASSIGN_OR_RETURN(const ParameterVector model, ReadModel(task.model_path));
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      stores->Training(Part(progress, 0, 0.5)));
  FG_RETURN_IF_ERROR(SetInitial(model));
  FG_ASSIGN_OR_RETURN(const std::vector<double> sums,
                      statistics->Sums(*store, Part(progress, 0.5, 1)));
  FG_RETURN_IF_ERROR(
      WriteFile(task.sums_path, {reinterpret_cast<const uint8_t*>(sums.data()),
                                 sums.size() * sizeof(double)}));
  return static_cast<uint64_t>(store->count());
}

absl::StatusOr<TrainerSession::Sketched> TrainerSession::State::RunSketch(
    const Sketch& task, const ProgressSink& progress) {
  if (!look.has_value()) {
    return absl::InvalidArgumentError("the plan has shift.every 0");
  }
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      stores->Images(Split::kTrain, Part(progress, 0, 0.4)));
  if (store->count() == 0) {
    return absl::FailedPreconditionError("there are no training images");
  }
  const auto apply_model = [&]() -> absl::Status {
    FG_ASSIGN_OR_RETURN(ParameterVector model, ReadModel(task.model_path));
    return ApplyModel(std::move(model), task.round, Part(progress, 0.4, 0.5));
  };
  Bytes pooled;
  if (!task.pooled_path.empty()) {
    FG_ASSIGN_OR_RETURN(pooled, ReadFile(task.pooled_path));
  }
  FG_ASSIGN_OR_RETURN(
      ShiftLook::Answer answer,
      look->Sums(*store, pooled, apply_model, Part(progress, 0.5, 1)));
  FG_RETURN_IF_ERROR(WriteFile(
      task.sums_path, {reinterpret_cast<const uint8_t*>(answer.sums.data()),
                       answer.sums.size() * sizeof(double)}));
  return Sketched{static_cast<uint64_t>(store->count()),
                  std::move(answer.scalars)};
}

absl::Status TrainerSession::State::ApplyModel(ParameterVector model, int round,
                                               const ProgressSink& progress) {
  if (solving.has_value()) {
    FG_RETURN_IF_ERROR(solving->Localise(model, progress));
  }
  FG_RETURN_IF_ERROR(LoadLocal(round));
  return learner->SetValues(model);
}

TrainerSession::TrainerSession(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
TrainerSession::~TrainerSession() = default;

absl::StatusOr<std::unique_ptr<TrainerSession>> TrainerSession::Create(
    SessionConfig config, const Clock& clock) {
  auto state = std::make_unique<State>(std::move(config), clock);
  FG_RETURN_IF_ERROR(CatchTorch([&] { return state->SetUp(); }));
  return std::unique_ptr<TrainerSession>(new TrainerSession(std::move(state)));
}

size_t TrainerSession::Count(Split split) const {
  return state_->config.data->Samples(split).size();
}
const Digest& TrainerSession::layout_digest() const {
  return state_->layout_digest;
}
std::string TrainerSession::device() const {
  return state_->compute.DeviceName();
}

absl::StatusOr<TrainerSession::Trained> TrainerSession::RunTrain(
    const Train& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunTrain(task, progress); });
}

absl::StatusOr<uint64_t> TrainerSession::RunSolve(
    const Solve& task, const ProgressSink& progress) {
  if (!state_->solving.has_value()) {
    return absl::InvalidArgumentError("the plan has no solver");
  }
  return CatchTorch([&] { return state_->solving->Answer(task, progress); });
}

absl::StatusOr<uint64_t> TrainerSession::RunGather(
    const Gather& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunGather(task, progress); });
}

absl::StatusOr<TrainerSession::Sketched> TrainerSession::RunSketch(
    const Sketch& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunSketch(task, progress); });
}

absl::StatusOr<TrainerSession::Evaluated> TrainerSession::RunEvaluate(
    const Evaluate& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunEvaluate(task, progress); });
}

}  // namespace fedgraft
