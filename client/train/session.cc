#include "client/train/session.h"

#include <torch/torch.h>

#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/preprocess.h"
#include "client/data/splits.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/ewc_start.h"
#include "client/train/forgetting.h"
#include "client/train/guard.h"
#include "client/train/learner.h"
#include "client/train/local_state.h"
#include "client/train/path_io.h"
#include "client/train/personal_model.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/posix_file_store.h"

static_assert(std::endian::native == std::endian::little,
              "updates are written as little-endian floats");

namespace fedgraft {
namespace {

// Names what activations depend on besides the image.
std::string CacheFileName(const Plan& plan, int stage, const Compute& compute,
                          Split split) {
  const PreprocessingSpec& spec = plan.preprocessing;
  ByteWriter key;
  key.Raw(plan.backbone.bytes).Sized(plan.architecture);
  key.U32(static_cast<uint32_t>(stage)).U32(static_cast<uint32_t>(spec.size));
  key.U8(static_cast<uint8_t>(spec.interpolation))
      .U8(static_cast<uint8_t>(spec.aspect))
      .U8(spec.invert);
  for (const std::vector<double>* values : {&spec.mean, &spec.std}) {
    key.U32(static_cast<uint32_t>(values->size()));
    for (double value : *values) key.U64(std::bit_cast<uint64_t>(value));
  }
  // GPUs and narrow types round differently.
  key.U8(compute.device.is_cuda()).U8(static_cast<uint8_t>(compute.autocast));
  return absl::StrCat("features/", Sha256(key.bytes()).Hex(), "-",
                      std::string(SplitName(split)), ".safetensors");
}

// A part of a call, as a range of the whole call's progress.
ProgressSink Part(const ProgressSink& progress, double begin, double end) {
  return [&progress, begin, end](double fraction, std::string_view stage) {
    return progress(begin + (end - begin) * fraction, stage);
  };
}

}  // namespace

struct TrainerSession::State {
  SessionConfig config;
  const Clock& clock;
  Compute compute;
  std::optional<Preprocessor> preprocessor;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<PosixFileStore> files;    // null: nothing is kept
  std::unique_ptr<LocalState> local;        // null: no local tensors
  std::unique_ptr<PersonalModel> personal;  // null: the plan asks for none
  // For EWC, if the plan alone says where the run starts.
  std::optional<ParameterVector> run_start;
  std::map<Split, std::unique_ptr<ActivationStore>> stores;

  State(SessionConfig config, const Clock& clock)
      : config(std::move(config)), clock(clock) {}

  absl::Status SetUp();
  absl::Status SetUpState(const SafetensorsFile& backbone);
  absl::Status CheckLabels() const;
  absl::StatusOr<ActivationStore*> Store(Split split,
                                         const ProgressSink& progress);
  absl::StatusOr<ParameterVector> ReadModel(const std::string& path) const;
  absl::Status LoadLocal(int round);
  absl::Status SaveLocal(int round);
  absl::StatusOr<ParameterVector> Delta(ParameterVector before);
  // Where the run starts: global values, and the site's own with them.
  absl::Status SetInitial(const ParameterVector& initial);
  // Sees to the run's start for EWC; `model` is what this site trains from now.
  absl::Status PrepareEwc(const ParameterVector& model,
                          const ActivationStore& store,
                          const ProgressSink& progress);
  // Scalars forgetting_* of what the learner has now; none if this site never
  // trained.
  absl::StatusOr<std::map<std::string, double>> ForgettingScalars(
      const ActivationStore& store, const ProgressSink& progress);
  absl::StatusOr<Trained> RunTrain(const Train& task,
                                   const ProgressSink& progress);
  absl::StatusOr<Evaluated> RunEvaluate(const Evaluate& task,
                                        const ProgressSink& progress);
  // Trains from `initial` as if there were no other site.
  absl::Status TrainAlone(const ParameterVector& initial,
                          const ProgressSink& progress);
};

absl::Status TrainerSession::State::SetUp() {
  FG_RETURN_IF_ERROR(CheckLabels());
  FG_ASSIGN_OR_RETURN(compute, SetUpCompute(config.compute));
  SetDeterministic(config.plan.deterministic);
  FG_ASSIGN_OR_RETURN(Preprocessor made,
                      Preprocessor::Create(config.plan.preprocessing));
  preprocessor = std::move(made);
  FG_ASSIGN_OR_RETURN(SafetensorsFile backbone,
                      SafetensorsFile::Open(config.backbone_path));
  FG_ASSIGN_OR_RETURN(
      std::shared_ptr<Network> network,
      BuildModel(config.plan.architecture, config.plan.num_classes()));
  absl::Status loaded = LoadState(backbone, HeadPolicy::kIgnore, *network);
  if (!loaded.ok()) {
    return Annotate(loaded, absl::StrCat("backbone ", config.backbone_path,
                                         " as ", config.plan.architecture));
  }
  FG_ASSIGN_OR_RETURN(ParameterLayout layout,
                      TrainableLayout(config.plan, backbone));
  FG_ASSIGN_OR_RETURN(learner, Learner::Create(config.plan, std::move(layout),
                                               std::move(network), compute));
  if (!config.state_dir.empty()) {
    FG_ASSIGN_OR_RETURN(files, PosixFileStore::Open(config.state_dir));
  }
  return SetUpState(backbone);
}

absl::Status TrainerSession::State::SetUpState(
    const SafetensorsFile& backbone) {
  const Plan& plan = config.plan;
  const bool has_local = learner->local_layout().Count() > 0;
  const bool has_personal = plan.personal.kind == PersonalKind::kDitto;
  const bool has_ewc = plan.regularizers.ewc_lambda > 0;
  if (files == nullptr && (has_local || has_personal || has_ewc)) {
    return absl::InvalidArgumentError(
        absl::StrCat(has_ewc        ? "EWC"
                     : has_personal ? "a personal model"
                                    : "a part of the model that stays here",
                     " needs a state folder"));
  }
  if (has_local) {
    FG_ASSIGN_OR_RETURN(
        ParameterVector initial,
        InitialTrainableSet(plan, learner->local_layout(), backbone));
    local = std::make_unique<LocalState>(
        *files, "local", learner->local_layout(), std::move(initial));
  }
  if (has_personal) {
    FG_ASSIGN_OR_RETURN(
        ParameterVector initial,
        InitialTrainableSet(plan, learner->trained_layout(), backbone));
    personal =
        std::make_unique<PersonalModel>(*files, *learner, std::move(initial));
  }
  if (has_ewc && plan.solver.kind == SolverKind::kNone) {
    FG_ASSIGN_OR_RETURN(run_start,
                        InitialTrainableSet(plan, learner->layout(), backbone));
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

absl::StatusOr<ActivationStore*> TrainerSession::State::Store(
    Split split, const ProgressSink& progress) {
  std::unique_ptr<ActivationStore>& store = stores[split];
  if (store == nullptr) {
    const bool augmented =
        split == Split::kTrain && config.plan.augmentation.any();
    ActivationStore::Options options;
    options.network = &learner->network();
    options.compute = &compute;
    options.source = config.data.get();
    options.preprocessor = &*preprocessor;
    options.split = split;
    options.stage = augmented ? 0 : learner->boundary();
    options.files = files.get();
    options.file_name =
        CacheFileName(config.plan, options.stage, compute, split);
    FG_ASSIGN_OR_RETURN(store,
                        ActivationStore::Create(std::move(options), progress));
  }
  return store.get();
}

absl::StatusOr<ParameterVector> TrainerSession::State::ReadModel(
    const std::string& path) const {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadFile(path));
  absl::StatusOr<ParameterVector> values =
      DecodeTrainableSet(learner->layout(), content);
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
                                               const ProgressSink& progress) {
  if (!(config.plan.regularizers.ewc_lambda > 0) || learner->has_run_start()) {
    return absl::OkStatus();
  }
  const absl::Status loaded = LoadEwcStart(*files, *learner);
  if (!absl::IsNotFound(loaded)) return loaded;
  // After a solver the start is what it published, which a site that joins
  // later does not know: it takes the first model that it trains from.
  FG_RETURN_IF_ERROR(SetInitial(run_start.has_value() ? *run_start : model));
  return TakeEwcStart(config.plan, store, *files, *learner, progress);
}

absl::StatusOr<std::map<std::string, double>>
TrainerSession::State::ForgettingScalars(const ActivationStore& store,
                                         const ProgressSink& progress) {
  std::map<std::string, double> scalars;
  if (!learner->has_run_start()) {
    const absl::Status loaded = LoadEwcStart(*files, *learner);
    if (absl::IsNotFound(loaded)) return scalars;
    FG_RETURN_IF_ERROR(loaded);
  }
  FG_ASSIGN_OR_RETURN(
      const Forgetting forgetting,
      ForgettingSince(learner->run_start(), learner->model(), store, progress));
  scalars["forgetting_predicted"] = forgetting.predicted;
  scalars["forgetting_measured"] = forgetting.measured;
  return scalars;
}

absl::StatusOr<TrainerSession::Trained> TrainerSession::State::RunTrain(
    const Train& task, const ProgressSink& progress) {
  const absl::Time start = clock.Monotonic();
  if (task.round < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("rounds count from 1, not ", task.round));
  }
  FG_ASSIGN_OR_RETURN(ParameterVector model, ReadModel(task.model_path));
  const bool ready = stores.contains(Split::kTrain);
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      Store(Split::kTrain, Part(progress, 0, 0.5)));
  const double begin = ready ? 0 : 0.5;
  const double middle = personal == nullptr ? 1 : (begin + 1) / 2;
  FG_RETURN_IF_ERROR(PrepareEwc(model, *store, Part(progress, begin, begin)));
  FG_RETURN_IF_ERROR(LoadLocal(task.round - 1));
  FG_RETURN_IF_ERROR(learner->SetValues(model));
  ParameterVector shared;  // for the personal model
  if (personal != nullptr) {
    FG_ASSIGN_OR_RETURN(shared, learner->TrainedValues());
  }
  Trained trained;
  FG_ASSIGN_OR_RETURN(
      trained.loss,
      learner->TrainRound(task.round, *store, Part(progress, begin, middle)));
  FG_ASSIGN_OR_RETURN(ParameterVector delta, Delta(std::move(model)));
  FG_RETURN_IF_ERROR(SaveLocal(task.round));
  if (personal != nullptr) {
    FG_RETURN_IF_ERROR(
        personal->Train(task.round, shared, *store, Part(progress, middle, 1)));
  }
  FG_RETURN_IF_ERROR(WriteFile(task.delta_path,
                               {reinterpret_cast<const uint8_t*>(delta.data()),
                                delta.size() * sizeof(float)}));
  trained.samples = static_cast<uint64_t>(store->count());
  trained.seconds = absl::ToDoubleSeconds(clock.Monotonic() - start);
  return trained;
}

absl::Status TrainerSession::State::TrainAlone(const ParameterVector& initial,
                                               const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(ActivationStore * store,
                      Store(Split::kTrain, Part(progress, 0, 0.3)));
  FG_RETURN_IF_ERROR(PrepareEwc(initial, *store, Part(progress, 0.3, 0.3)));
  FG_RETURN_IF_ERROR(SetInitial(initial));
  const double step = 0.7 / config.plan.rounds;
  for (int round = 1; round <= config.plan.rounds; ++round) {
    const double begin = 0.3 + step * (round - 1);
    FG_RETURN_IF_ERROR(
        learner->TrainRound(round, *store, Part(progress, begin, begin + step))
            .status());
  }
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
                      Store(task.split, Part(progress, 0, share / 2)));
  FG_RETURN_IF_ERROR(LoadLocal(task.round));
  FG_RETURN_IF_ERROR(learner->SetValues(model));
  FG_ASSIGN_OR_RETURN(
      Predictions predictions,
      learner->Predict(*store, Part(progress, share / 2, share)));
  Evaluated evaluated{EvaluationSums(predictions),
                      SiteMetrics(predictions, "")};
  const bool is_last = task.compare_local || task.round >= config.plan.rounds;
  if (config.plan.regularizers.ewc_lambda > 0 && is_last) {
    FG_ASSIGN_OR_RETURN(
        auto forgetting,
        ForgettingScalars(*store, Part(progress, share, share)));
    evaluated.scalars.merge(forgetting);
  }
  if (personal != nullptr) {
    FG_ASSIGN_OR_RETURN(
        predictions,
        personal->Predict(task.round, *store, Part(progress, share, share)));
    evaluated.scalars.merge(SiteMetrics(predictions, "personal_"));
  }
  if (task.compare_local) {
    FG_ASSIGN_OR_RETURN(ParameterVector initial,
                        ReadModel(task.initial_model_path));
    FG_RETURN_IF_ERROR(TrainAlone(initial, Part(progress, share, 0.95)));
    FG_ASSIGN_OR_RETURN(predictions,
                        learner->Predict(*store, Part(progress, 0.95, 1)));
    evaluated.scalars.merge(SiteMetrics(predictions, "local_"));
  }
  return evaluated;
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
  return state_->learner->layout().digest();
}
std::string TrainerSession::device() const {
  return state_->compute.DeviceName();
}

absl::StatusOr<TrainerSession::Trained> TrainerSession::RunTrain(
    const Train& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunTrain(task, progress); });
}

absl::StatusOr<TrainerSession::Evaluated> TrainerSession::RunEvaluate(
    const Evaluate& task, const ProgressSink& progress) {
  return CatchTorch([&] { return state_->RunEvaluate(task, progress); });
}

}  // namespace fedgraft
