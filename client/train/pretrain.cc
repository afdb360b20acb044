#include "client/train/pretrain.h"

#include <torch/torch.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/preprocess.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/guard.h"
#include "client/train/jittered_source.h"
#include "client/train/learner.h"
#include "client/train/model_card.h"
#include "client/train/path_io.h"
#include "client/train/starting_network.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// A few seconds' worth; statistics need no more.
constexpr int kRefreshBatches = 20;

// Pretraining is full fine-tuning by a plan with one site: an epoch is a
// round.
Plan AsPlan(const PretrainOptions& options) {
  Plan plan;
  plan.seed = options.seed;
  plan.rounds = options.epochs;
  plan.classes = options.classes;
  plan.architecture = options.architecture;
  plan.preprocessing = options.preprocessing;
  plan.strategy = StrategyKind::kFull;
  plan.batch_norm = BatchNormPolicy::kPooled;
  plan.local_epochs = 1;
  plan.batch_size = options.batch_size;
  plan.optimizer = options.optimizer;
  plan.schedule.kind = ScheduleKind::kCosine;
  plan.augmentation = options.augmentation;
  return plan;
}

absl::StatusOr<Digest> Save(const PretrainOptions& options, Network& network,
                            PretrainFacts facts) {
  FG_ASSIGN_OR_RETURN(
      Bytes content,
      EncodeState(network, {{"architecture", options.architecture}}));
  ModelCard card{options.architecture, options.classes, options.preprocessing,
                 Sha256(content)};
  FG_RETURN_IF_ERROR(WriteFile(options.out_path, content));
  FG_RETURN_IF_ERROR(WriteFile(options.out_path + ".json",
                               AsBytes(PretrainCard(card, facts))));
  return card.sha256;
}

absl::StatusOr<Digest> Run(
    const PretrainOptions& options, const DataSource& data, const Clock& clock,
    const std::function<void(const PretrainEpoch&)>& on_epoch) {
  const Plan plan = AsPlan(options);
  FG_ASSIGN_OR_RETURN(Compute compute, SetUpCompute(options.compute));
  FG_ASSIGN_OR_RETURN(Preprocessor preprocessor,
                      Preprocessor::Create(options.preprocessing));
  FG_ASSIGN_OR_RETURN(StartingNetwork start,
                      StartNetwork(options.architecture,
                                   static_cast<int64_t>(options.classes.size()),
                                   options.start_path, options.seed));
  FG_ASSIGN_OR_RETURN(ParameterLayout layout, WholeLayout(*start.network));
  FG_ASSIGN_OR_RETURN(
      std::unique_ptr<Learner> learner,
      Learner::Create(plan, std::move(layout), start.network, compute));
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  ActivationStore::Options images;
  images.network = start.network.get();
  images.compute = &compute;
  const JitteredSource source(data, options.scanner_jitter, options.seed);
  images.source = &source;
  images.preprocessor = &preprocessor;
  FG_ASSIGN_OR_RETURN(std::unique_ptr<ActivationStore> train,
                      ActivationStore::Create(images, silent));
  images.split = Split::kVal;
  FG_ASSIGN_OR_RETURN(std::unique_ptr<ActivationStore> val,
                      ActivationStore::Create(images, silent));
  PretrainFacts facts{start.origin,
                      options.epochs,
                      options.seed,
                      static_cast<uint64_t>(train->count()),
                      {}};
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    const absl::Time begin = clock.Monotonic();
    PretrainEpoch report{epoch, options.epochs, 0, 0, {}};
    FG_ASSIGN_OR_RETURN(report.loss,
                        learner->TrainRound(epoch, *train, silent));
    FG_RETURN_IF_ERROR(learner->RefreshStatistics(*train, kRefreshBatches));
    FG_ASSIGN_OR_RETURN(Predictions predictions,
                        learner->Predict(*val, silent));
    facts.metrics = report.metrics = SiteMetrics(predictions, "");
    report.seconds = absl::ToDoubleSeconds(clock.Monotonic() - begin);
    on_epoch(report);
  }
  return Save(options, *start.network, std::move(facts));
}

}  // namespace

absl::StatusOr<Digest> Pretrain(
    const PretrainOptions& options, const DataSource& data, const Clock& clock,
    const std::function<void(const PretrainEpoch&)>& on_epoch) {
  if (options.epochs < 1 || options.batch_size < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at least 1 epoch and a batch of at least 1, not ",
        options.epochs, " and ", options.batch_size));
  }
  if (!(options.scanner_jitter >= 0 && options.scanner_jitter <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a scanner jitter of 0 to 1, not ", options.scanner_jitter));
  }
  return CatchTorch([&] { return Run(options, data, clock, on_epoch); });
}

}  // namespace fedgraft
