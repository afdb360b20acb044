#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/preprocess.h"
#include "client/model/network.h"
#include "client/train/activation_file.h"
#include "client/train/compute.h"
#include "client/train/session.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// More than this is not kept in memory but computed again for every batch.
inline constexpr uint64_t kActivationBytesMax = uint64_t{1} << 30;

// For every image of one split, the activations that enter stage `stage` of
// the network (stage 0: the preprocessed image itself). Stages before it are
// frozen, so this is computed once per image: in memory, and on disk for later
// processes, where an entry is found again by the SHA-256 of the preprocessed
// image under a file name that hashes backbone, stage and preprocessing.
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
    // Both or none: where to keep activations between processes. Only used
    // for stage > 0.
    FileStore* files = nullptr;
    std::string file_name;
  };

  // Decodes every image (an undecodable one is an error, named) and computes
  // what is not cached. A cache file that is damaged is made anew.
  static absl::StatusOr<std::unique_ptr<ActivationStore>> Create(
      Options options, const ProgressSink& progress);

  int stage() const { return options_.stage; }
  int64_t count() const { return static_cast<int64_t>(labels_.size()); }
  const std::vector<int64_t>& labels() const { return labels_; }
  // How many images went through the network in Create.
  int64_t computed() const { return computed_; }

  // Activations [n, ...] on the compute device.
  absl::StatusOr<torch::Tensor> Batch(const std::vector<int64_t>& images) const;

  // For stage 0: random views of the images, as the plan asks.
  absl::StatusOr<torch::Tensor> AugmentedBatch(
      const std::vector<int64_t>& images, const AugmentationSpec& spec,
      uint64_t seed, uint64_t epoch) const;

 private:
  explicit ActivationStore(Options options);
  bool on_disk() const {
    return options_.stage > 0 && options_.files != nullptr;
  }
  CachedActivations ReadCache() const;
  absl::Status Fill(const ProgressSink& progress);
  // Activations of `images`, from the cache where their digests are there.
  torch::Tensor ComputeChunk(const torch::Tensor& images,
                             absl::Span<const Digest> digests,
                             const CachedActivations& cached);
  // Preprocessed images [n, 3, size, size], or feature vectors [n, dim], on
  // the CPU, decoded in parallel.
  absl::StatusOr<torch::Tensor> LoadImages(
      const std::vector<int64_t>& images) const;
  // Like Batch, on the CPU.
  absl::StatusOr<torch::Tensor> Select(
      const std::vector<int64_t>& images) const;
  // Stages before `stage` on preprocessed images; result on the CPU.
  torch::Tensor RunFrozen(const torch::Tensor& images) const;

  Options options_;
  std::vector<int64_t> labels_;
  torch::Tensor kept_;  // [count, ...]; undefined if too large
  int64_t computed_ = 0;
};

}  // namespace fedgraft
