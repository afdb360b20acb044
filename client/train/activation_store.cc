#include "client/train/activation_store.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/augment.h"
#include "client/train/activation_file.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// Images decoded and sent through the frozen stages together.
constexpr int64_t kChunk = 32;

ByteSpan RowBytes(const torch::Tensor& images, int64_t row) {
  const size_t size = images.nbytes() / images.size(0);
  return {static_cast<const uint8_t*>(images.data_ptr()) + row * size, size};
}

}  // namespace

ActivationStore::ActivationStore(Options options)
    : options_(std::move(options)) {
  for (const Sample& sample : options_.source->Samples(options_.split)) {
    labels_.push_back(sample.label);
  }
}

absl::StatusOr<std::unique_ptr<ActivationStore>> ActivationStore::Create(
    Options options, const ProgressSink& progress) {
  std::unique_ptr<ActivationStore> store(
      new ActivationStore(std::move(options)));
  FG_RETURN_IF_ERROR(store->Fill(progress));
  return store;
}

CachedActivations ActivationStore::ReadCache() const {
  if (!on_disk()) return {};
  auto cached = ReadActivations(*options_.files, options_.file_name);
  if (cached.ok()) return *std::move(cached);
  if (!absl::IsNotFound(cached.status())) {
    FG_LOG_WARNING("feature cache is made anew: {}",
                   std::string(cached.status().message()));
  }
  return {};
}

absl::Status ActivationStore::Fill(const ProgressSink& progress) {
  const CachedActivations cached = ReadCache();
  std::vector<Digest> digests;
  for (int64_t begin = 0; begin < count(); begin += kChunk) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / count(), "features"));
    std::vector<int64_t> chunk(std::min(kChunk, count() - begin));
    std::iota(chunk.begin(), chunk.end(), begin);
    FG_ASSIGN_OR_RETURN(torch::Tensor images, LoadImages(chunk));
    for (int64_t i = 0; on_disk() && i < images.size(0); ++i) {
      digests.push_back(Sha256(RowBytes(images, i)));
    }
    const torch::Tensor values = ComputeChunk(
        images, absl::MakeConstSpan(digests).subspan(on_disk() ? begin : 0),
        cached);
    if (begin == 0) {
      const uint64_t row_bytes = values.nbytes() / values.size(0);
      if (row_bytes * static_cast<uint64_t>(count()) > options_.bytes_max) {
        FG_LOG_INFO("activations of {} images ({} bytes each) are not kept",
                    count(), row_bytes);
        return absl::OkStatus();
      }
      std::vector<int64_t> shape = values.sizes().vec();
      shape[0] = count();
      kept_ = torch::empty(shape, torch::kFloat32);
    }
    kept_.narrow(0, begin, values.size(0)).copy_(values);
  }
  const bool changed = computed_ > 0 || cached.rows.size() != labels_.size();
  if (on_disk() && changed && count() > 0) {
    absl::Status written =
        WriteActivations(*options_.files, options_.file_name, digests, kept_);
    if (!written.ok()) {  // only speed is lost
      FG_LOG_WARNING("feature cache is not kept: {}",
                     std::string(written.message()));
    }
  }
  return absl::OkStatus();
}

torch::Tensor ActivationStore::ComputeChunk(const torch::Tensor& images,
                                            absl::Span<const Digest> digests,
                                            const CachedActivations& cached) {
  std::vector<int64_t> hit_row, hit_from, miss_row;
  for (size_t i = 0; i < digests.size(); ++i) {
    auto it = cached.rows.find(digests[i]);
    if (it == cached.rows.end()) {
      miss_row.push_back(static_cast<int64_t>(i));
    } else {
      hit_row.push_back(static_cast<int64_t>(i));
      hit_from.push_back(it->second);
    }
  }
  if (hit_row.empty()) {
    computed_ += images.size(0);
    return RunFrozen(images);
  }
  std::vector<int64_t> shape = cached.values.sizes().vec();
  shape[0] = images.size(0);
  torch::Tensor values = torch::empty(shape, torch::kFloat32);
  values.index_copy_(0, torch::tensor(hit_row),
                     cached.values.index_select(0, torch::tensor(hit_from)));
  if (!miss_row.empty()) {
    const torch::Tensor rows = torch::tensor(miss_row);
    values.index_copy_(0, rows, RunFrozen(images.index_select(0, rows)));
    computed_ += rows.size(0);
  }
  return values;
}

absl::StatusOr<torch::Tensor> ActivationStore::LoadImages(
    const std::vector<int64_t>& images) const {
  std::vector<int64_t> shape = options_.preprocessor->output_shape();
  shape.insert(shape.begin(), static_cast<int64_t>(images.size()));
  torch::Tensor result = torch::empty(shape);
  float* data = result.data_ptr<float>();
  const size_t stride = options_.preprocessor->output_size();
  std::mutex mutex;
  absl::Status first_error;
  at::parallel_for(0, static_cast<int64_t>(images.size()), 1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const size_t index = static_cast<size_t>(images[i]);
                       absl::StatusOr<Image> image =
                           options_.source->Load(options_.split, index);
                       absl::Status status =
                           image.ok() ? options_.preprocessor->Apply(
                                            *image, {data + i * stride, stride})
                                      : image.status();
                       if (status.ok()) continue;
                       const std::string& name =
                           options_.source->Samples(options_.split)[index].name;
                       std::lock_guard<std::mutex> lock(mutex);
                       if (first_error.ok()) {
                         first_error =
                             Annotate(status, absl::StrCat("image ", name));
                       }
                     }
                   });
  FG_RETURN_IF_ERROR(first_error);
  return result;
}

torch::Tensor ActivationStore::RunFrozen(const torch::Tensor& images) const {
  if (options_.stage == 0) return images;
  torch::NoGradGuard no_grad;
  AutocastScope autocast(*options_.compute);
  return options_.network
      ->Run(images.to(options_.compute->device), 0, options_.stage)
      .to(torch::kCPU, torch::kFloat32)
      .contiguous();
}

absl::StatusOr<torch::Tensor> ActivationStore::Select(
    const std::vector<int64_t>& images) const {
  if (kept_.defined()) return kept_.index_select(0, torch::tensor(images));
  FG_ASSIGN_OR_RETURN(torch::Tensor loaded, LoadImages(images));
  return RunFrozen(loaded);
}

absl::StatusOr<torch::Tensor> ActivationStore::Batch(
    const std::vector<int64_t>& images) const {
  FG_ASSIGN_OR_RETURN(torch::Tensor values, Select(images));
  return values.to(options_.compute->device);
}

absl::StatusOr<torch::Tensor> ActivationStore::AugmentedBatch(
    const std::vector<int64_t>& images, const AugmentationSpec& spec,
    uint64_t seed, uint64_t epoch) const {
  FG_ASSIGN_OR_RETURN(torch::Tensor values, Select(images));
  values = values.contiguous();
  float* data = values.data_ptr<float>();
  const size_t stride = options_.preprocessor->output_size();
  at::parallel_for(0, values.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const ViewKey key{seed, epoch, static_cast<uint64_t>(images[i])};
      Augment(spec, key, options_.preprocessor->size(),
              {data + i * stride, stride});
    }
  });
  return values.to(options_.compute->device);
}

}  // namespace fedgraft
