#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/random_view.h"
#include "client/train/session.h"
#include "common/base/digest.h"
#include "common/config/plan.h"

namespace fedgraft {

enum class SslMethod { kSimClr, kVicReg };

// Training of a backbone at one place on images without labels: two random
// views of an image are to have like embeddings, those of different images
// unlike ones (simclr), or all together spread embeddings (vicreg). ssl_loss.h.
struct SelfSupervisedOptions {
  SslMethod method = SslMethod::kSimClr;
  std::string architecture = "resnet18";
  std::string start_path;  // backbone to start from; empty: from scratch
  std::string out_path;    // safetensors; the card goes to <out_path>.json
  PreprocessingSpec preprocessing;
  RandomViewSpec views;
  int epochs = 20;
  int batch_size =
      64;  // images; a last incomplete batch of an epoch is left out
  // Its rate rises linearly over the first `warmup` of all steps, then falls as
  // a cosine. Biases and BatchNorm do not decay.
  OptimizerSpec optimizer;
  double warmup = 0.1;
  double temperature = 0.2;                               // simclr
  double invariance = 25, variance = 25, covariance = 1;  // vicreg
  // Sizes of the projector's layers; empty: 512,128 (simclr), 512,512,512
  // (vicreg).
  std::vector<int64_t> projector;
  uint64_t seed = 0;
  // Steps between checkpoints. 0: none.
  int checkpoint_every = 50;
  ComputeSpec compute;
};

// Where training stands after a step.
struct SslProgress {
  int epoch = 0, epochs = 0;    // from 1
  int64_t step = 0, steps = 0;  // of the whole training
  int64_t images_per_step = 0;
  double loss = 0;  // mean of the epoch so far
  bool epoch_ends = false;
  bool resumed = false;  // from a checkpoint, and this is no new step
};

struct SslResult {
  Digest sha256;  // of the file written
  // Mean losses of the first and the last epoch.
  double first_loss = 0, last_loss = 0;
  // Of the features (what a head gets) and the projections of up to 512 images.
  double feature_deviation = 0, feature_rank = 0;
  double projection_deviation = 0, projection_rank = 0;
  bool collapsed = false;
};

// Trains, and writes a backbone without a head. Same options and images, same
// bytes on a CPU.
//
// Every `checkpoint_every` steps the state is written, atomically, to
// <out_path>.checkpoint. A later call with the same options and images goes on
// from there, as if nothing had happened: the result has the same bytes. The
// checkpoint is removed when the result is there.
//
// `on_step` is called after every step; an error of it ends the training with
// that error (a checkpoint stays). INVALID_ARGUMENT: options or start file;
// FAILED_PRECONDITION: fewer than 2 images, training diverged, or a checkpoint
// of other options or images. Nothing is written to out_path then.
absl::StatusOr<SslResult> PretrainSelfSupervised(
    const SelfSupervisedOptions& options, const DataSource& data,
    const std::function<absl::Status(const SslProgress&)>& on_step);

std::string CheckpointPath(const SelfSupervisedOptions& options);

}  // namespace fedgraft
