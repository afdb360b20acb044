#pragma once

#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/acquisition.h"
#include "client/data/data_source.h"
#include "client/data/preprocess.h"
#include "client/features/feature_cache.h"
#include "client/features/feature_table.h"
#include "client/model/network.h"
#include "client/train/compute.h"
#include "client/train/session.h"
#include "common/shift/devices.h"

namespace fedgraft {

// More than this is not kept in memory: it is read from the cache on disk, or
// computed again, for every batch.
inline constexpr uint64_t kActivationBytesMax = uint64_t{1} << 30;

// For every image of one split, the activations that enter stage `stage` of
// the network (stage 0: the preprocessed image itself). Stages before it are
// frozen, so this is computed once per image: in memory, and in a FeatureCache
// for later processes and runs, where a row is found again by the SHA-256 of
// the preprocessed image (and the view of it).
//
// With `views`, K random views of each image take its place; view v of image i
// depends on the seed, v and i only. Epochs go through the views in turn.
//
// An image's activations do not depend on the batch in which they are
// computed, on what was cached, or where: cold and warm give the same bytes.
//
// Holds references to what Options points to. Not thread-safe.
class ActivationStore {
 public:
  struct Options {
    Network* network = nullptr;
    const Compute* compute = nullptr;
    const DataSource* source = nullptr;
    const Preprocessor* preprocessor = nullptr;
    Split split = Split::kTrain;
    int stage = 0;
    uint64_t bytes_max = kActivationBytesMax;
    // Null: kept in memory only. Not used for stage 0.
    FeatureCache* cache = nullptr;
    Digest space;  // client/features/feature_space.h
    // Rounded to F16: at most 2^-11 of the value above 2^-14, at most 2^-25
    // below; beyond +-65504 values are cut, with a warning.
    bool half = false;
    // Above 0: that many views of each image.
    int views = 0;
    AugmentationSpec augmentation;
    uint64_t seed = 0;
    // Whether acquisition() is wanted. REQUIRES: a source of images.
    bool measures_acquisition = false;
    // Set: devices() is wanted, by the hash of that seed.
    std::optional<uint64_t> device_seed = {};
  };

  // Decodes every image (an undecodable one is an error, named) and computes
  // what is not cached.
  static absl::StatusOr<std::unique_ptr<ActivationStore>> Create(
      Options options, const ProgressSink& progress);

  int stage() const { return options_.stage; }
  int64_t count() const { return static_cast<int64_t>(labels_.size()); }
  const std::vector<int64_t>& labels() const { return labels_; }
  // How many images or views went through the network in Create.
  int64_t computed() const { return computed_; }
  // How each image was taken [n, kAcquisitions], measured whenever it is
  // decoded, which it is once: in Create, or where nothing is kept by the first
  // Batch that has it. Rows of images that were not decoded yet are 0.
  const std::vector<AcquisitionNumbers>& acquisition() const {
    return acquisition_;
  }
  // Which scanner each image comes from [n], noted when acquisition() is
  // measured; rows of images that were not decoded yet are not told.
  const std::vector<DeviceBins>& devices() const { return devices_; }

  // Activations [n, ...] on the compute device; with views, of the first.
  absl::StatusOr<torch::Tensor> Batch(const std::vector<int64_t>& images) const;

  // What epoch `epoch` of training sees: with views, those of the epoch; else
  // at stage 0 new random views as `spec` asks; else Batch.
  absl::StatusOr<torch::Tensor> TrainingBatch(
      const std::vector<int64_t>& images, const AugmentationSpec& spec,
      uint64_t seed, uint64_t epoch) const;

 private:
  // Where the rows are.
  enum class Place { kUnknown, kMemory, kDisk, kNowhere };

  explicit ActivationStore(Options options);
  int64_t view_count() const { return std::max(1, options_.views); }
  int64_t RowOf(int64_t image, int64_t view) const {
    return view * count() + image;
  }
  absl::Status Fill(const ProgressSink& progress);
  // One view of the images from `begin` on.
  absl::Status FillRows(const torch::Tensor& images, int64_t begin,
                        const std::vector<Digest>& digests, int64_t view);
  void Choose(const std::vector<int64_t>& dims);
  // Row from the cache; false: it has to be computed.
  bool ReadCached(int64_t row);
  void Keep(const std::vector<int64_t>& rows, const torch::Tensor& values);
  Digest KeyOf(const Digest& image, int64_t index, int64_t view) const;
  // Preprocessed images [n, 3, size, size], or feature vectors [n, dim], on
  // the CPU, decoded in parallel.
  absl::StatusOr<torch::Tensor> LoadImages(
      const std::vector<int64_t>& images) const;
  // Replaces images[i], the input of image at[i], by its view.
  void ApplyViews(const AugmentationSpec& spec, uint64_t seed, uint64_t view,
                  const std::vector<int64_t>& at, torch::Tensor& images) const;
  // Activations of one view, on the CPU.
  absl::StatusOr<torch::Tensor> Select(const std::vector<int64_t>& images,
                                       int64_t view) const;
  absl::StatusOr<torch::Tensor> SelectFromDisk(
      const std::vector<int64_t>& images, int64_t view) const;
  absl::StatusOr<torch::Tensor> ComputeAgain(const std::vector<int64_t>& images,
                                             int64_t view) const;
  // Stages before `stage` on preprocessed images; result on the CPU, rounded.
  torch::Tensor RunFrozen(const torch::Tensor& images) const;

  Options options_;
  std::vector<int64_t> labels_;
  Place place_ = Place::kUnknown;
  torch::Tensor kept_;  // [views * count, ...] in memory
  // Null: no cache. Reading it notes what is damaged.
  std::unique_ptr<FeatureTable> table_;
  std::vector<Digest> keys_;  // of rows, with a table
  int64_t computed_ = 0;
  // Empty: not wanted.
  mutable std::vector<AcquisitionNumbers> acquisition_;
  mutable std::vector<DeviceBins> devices_;
};

}  // namespace fedgraft
