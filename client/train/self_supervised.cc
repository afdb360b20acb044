#include "client/train/self_supervised.h"

#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/preprocess.h"
#include "client/model/encode_tensors.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/guard.h"
#include "client/train/path_io.h"
#include "client/train/ssl_card.h"
#include "client/train/ssl_checkpoint.h"
#include "client/train/ssl_trainer.h"
#include "client/train/starting_network.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr int64_t kSpreadImagesMax = 512;
constexpr int64_t kDigestChunk = 64;

absl::Status Check(bool good, const char* what, double found) {
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", what, ", not ", found));
}

absl::Status CheckOptions(const SelfSupervisedOptions& options) {
  const RandomViewSpec& views = options.views;
  FG_RETURN_IF_ERROR(
      Check(options.epochs >= 1, "at least 1 epoch", options.epochs));
  FG_RETURN_IF_ERROR(Check(options.batch_size >= 2, "a batch of at least 2",
                           options.batch_size));
  FG_RETURN_IF_ERROR(Check(options.warmup >= 0 && options.warmup < 1,
                           "a warm-up of 0 to below 1", options.warmup));
  FG_RETURN_IF_ERROR(
      Check(options.temperature > 0 && std::isfinite(options.temperature),
            "a temperature above 0", options.temperature));
  FG_RETURN_IF_ERROR(Check(options.checkpoint_every >= 0,
                           "0 or more steps between checkpoints",
                           options.checkpoint_every));
  for (double weight :
       {options.invariance, options.variance, options.covariance}) {
    FG_RETURN_IF_ERROR(Check(weight >= 0 && std::isfinite(weight),
                             "coefficients of 0 or more", weight));
  }
  for (int64_t size : options.projector) {
    FG_RETURN_IF_ERROR(Check(size >= 1 && size <= 65536,
                             "projector layers of 1 to 65536",
                             static_cast<double>(size)));
  }
  FG_RETURN_IF_ERROR(
      Check(views.crop_area_min >= 0.01 && views.crop_area_min <= 1,
            "a smallest crop of 0.01 to 1 of the area", views.crop_area_min));
  FG_RETURN_IF_ERROR(
      Check(views.rotate_degrees >= 0 && views.rotate_degrees <= 180,
            "a rotation of 0 to 180 degrees", views.rotate_degrees));
  for (double jitter : {views.brightness, views.contrast}) {
    FG_RETURN_IF_ERROR(Check(jitter >= 0 && jitter < 1,
                             "a brightness and contrast jitter of 0 to below 1",
                             jitter));
  }
  return Check(views.blur_sigma_max >= 0 && views.blur_sigma_max <= 10,
               "a blur of 0 to 10 pixels", views.blur_sigma_max);
}

absl::StatusOr<Digest> DigestOf(const ActivationStore& images) {
  Bytes digests;
  for (int64_t begin = 0; begin < images.count(); begin += kDigestChunk) {
    std::vector<int64_t> chunk(std::min(kDigestChunk, images.count() - begin));
    std::iota(chunk.begin(), chunk.end(), begin);
    FG_ASSIGN_OR_RETURN(torch::Tensor batch, images.Batch(chunk));
    batch = batch.contiguous();
    const Digest digest =
        Sha256({static_cast<const uint8_t*>(batch.data_ptr()), batch.nbytes()});
    digests.insert(digests.end(), digest.bytes.begin(), digest.bytes.end());
  }
  return Sha256(digests);
}

// One training, from its images to the files.
class Training {
 public:
  Training(const SelfSupervisedOptions& options, const DataSource& data)
      : options_(options), data_(data) {}

  absl::Status SetUp();
  absl::Status Train(
      const std::function<absl::Status(const SslProgress&)>& on_step);
  absl::StatusOr<SslResult> Save();

 private:
  // Goes on from the checkpoint, if there is one.
  absl::Status Resume();
  SslProgress Progress() const;

  const SelfSupervisedOptions& options_;
  const DataSource& data_;
  Compute compute_, host_;
  std::shared_ptr<Network> network_;
  std::unique_ptr<Preprocessor> preprocessor_;
  std::unique_ptr<ActivationStore> images_;
  std::unique_ptr<SslTrainer> trainer_;
  SslTask task_;
  SslCheckpoint done_;
};

absl::Status Training::SetUp() {
  if (data_.feature_dim() > 0) {
    return absl::InvalidArgumentError("expected images, found feature vectors");
  }
  FG_ASSIGN_OR_RETURN(compute_, SetUpCompute(options_.compute));
  host_ = compute_;
  host_.device = torch::kCPU;
  FG_RETURN_IF_ERROR(Preprocessor::Create(options_.preprocessing).status());
  // Views are made of the grey values as they are.
  PreprocessingSpec plain = options_.preprocessing;
  plain.mean.clear();
  plain.std.clear();
  FG_ASSIGN_OR_RETURN(Preprocessor preprocessor, Preprocessor::Create(plain));
  preprocessor_ = std::make_unique<Preprocessor>(std::move(preprocessor));
  FG_ASSIGN_OR_RETURN(StartingNetwork start,
                      StartNetwork(options_.architecture, 1,
                                   options_.start_path, options_.seed));
  network_ = start.network;
  ActivationStore::Options images;
  images.network = network_.get();
  images.compute = &host_;
  images.source = &data_;
  images.preprocessor = preprocessor_.get();
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  FG_ASSIGN_OR_RETURN(images_, ActivationStore::Create(images, silent));
  if (images_->count() < 2) {
    return absl::FailedPreconditionError(absl::StrCat(
        "expected at least 2 images to tell apart, found ", images_->count()));
  }
  task_.start = start.origin;
  task_.images = static_cast<uint64_t>(images_->count());
  FG_ASSIGN_OR_RETURN(task_.data_sha256, DigestOf(*images_));
  trainer_ =
      std::make_unique<SslTrainer>(options_, *network_, *images_, compute_);
  done_.task = SslTaskDigest(options_, task_);
  return Resume();
}

absl::Status Training::Resume() {
  if (options_.checkpoint_every == 0) return absl::OkStatus();
  absl::StatusOr<SslCheckpoint> checkpoint =
      ReadCheckpoint(CheckpointPath(options_), done_.task, trainer_->State());
  if (absl::IsNotFound(checkpoint.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(checkpoint.status());
  done_ = *std::move(checkpoint);
  return absl::OkStatus();
}

SslProgress Training::Progress() const {
  const int64_t per_epoch = trainer_->steps_per_epoch();
  const int64_t in_epoch = (done_.step - 1) % per_epoch + 1;
  SslProgress progress;
  progress.epoch = static_cast<int>((done_.step - 1) / per_epoch) + 1;
  progress.epochs = options_.epochs;
  progress.step = done_.step;
  progress.steps = trainer_->steps();
  progress.images_per_step = trainer_->batch_size();
  progress.epoch_ends = in_epoch == per_epoch;
  progress.loss = progress.epoch_ends
                      ? done_.epoch_losses.back()
                      : done_.loss_sum / static_cast<double>(in_epoch);
  return progress;
}

absl::Status Training::Train(
    const std::function<absl::Status(const SslProgress&)>& on_step) {
  if (done_.step > 0) {
    SslProgress progress = Progress();
    progress.resumed = true;
    FG_RETURN_IF_ERROR(on_step(progress));
  }
  const int64_t per_epoch = trainer_->steps_per_epoch();
  while (done_.step < trainer_->steps()) {
    FG_ASSIGN_OR_RETURN(const double loss, trainer_->Step(done_.step + 1));
    ++done_.step;
    done_.loss_sum += loss;
    if (done_.step % per_epoch == 0) {
      done_.epoch_losses.push_back(done_.loss_sum /
                                   static_cast<double>(per_epoch));
      done_.loss_sum = 0;
    }
    if (options_.checkpoint_every > 0 &&
        done_.step % options_.checkpoint_every == 0) {
      FG_RETURN_IF_ERROR(
          WriteCheckpoint(CheckpointPath(options_), done_, trainer_->State()));
    }
    FG_RETURN_IF_ERROR(on_step(Progress()));
  }
  return absl::OkStatus();
}

absl::StatusOr<SslResult> Training::Save() {
  FG_RETURN_IF_ERROR(trainer_->Finish());
  FG_ASSIGN_OR_RETURN(const SslTrainer::Spreads spreads,
                      trainer_->MeasureSpread(kSpreadImagesMax));
  SslResult result;
  result.first_loss = done_.epoch_losses.front();
  result.last_loss = done_.epoch_losses.back();
  result.feature_deviation = spreads.features.deviation;
  result.feature_rank = spreads.features.effective_rank;
  result.projection_deviation = spreads.projections.deviation;
  result.projection_rank = spreads.projections.effective_rank;
  result.collapsed =
      HasCollapsed(spreads.features) || HasCollapsed(spreads.projections);
  FG_ASSIGN_OR_RETURN(
      const Bytes content,
      EncodeBackbone(*network_, {{"architecture", options_.architecture}}));
  result.sha256 = Sha256(content);
  FG_RETURN_IF_ERROR(WriteFile(options_.out_path, content));
  FG_RETURN_IF_ERROR(WriteFile(options_.out_path + ".json",
                               AsBytes(SslCard(options_, task_, result))));
  std::error_code ignored;  // a file too many does no harm
  std::filesystem::remove(CheckpointPath(options_), ignored);
  return result;
}

}  // namespace

std::string CheckpointPath(const SelfSupervisedOptions& options) {
  return options.out_path + ".checkpoint";
}

absl::StatusOr<SslResult> PretrainSelfSupervised(
    const SelfSupervisedOptions& options, const DataSource& data,
    const std::function<absl::Status(const SslProgress&)>& on_step) {
  FG_RETURN_IF_ERROR(CheckOptions(options));
  return CatchTorch([&]() -> absl::StatusOr<SslResult> {
    Training training(options, data);
    FG_RETURN_IF_ERROR(training.SetUp());
    FG_RETURN_IF_ERROR(training.Train(on_step));
    return training.Save();
  });
}

}  // namespace fedgraft
