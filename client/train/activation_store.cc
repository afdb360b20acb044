#include "client/train/activation_store.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <mutex>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/augment.h"
#include "client/data/splits.h"
#include "client/train/activation_rows.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

// Images decoded together.
constexpr int64_t kChunk = 32;
// Images sent through the frozen stages together, never more or fewer: the
// kernels, and so the last bits, depend on the size of the batch.
constexpr int64_t kFrozenBatch = 16;

ByteSpan RowBytes(const torch::Tensor& images, int64_t row) {
  const size_t size = images.nbytes() / images.size(0);
  return {static_cast<const uint8_t*>(images.data_ptr()) + row * size, size};
}

std::vector<int64_t> RowDims(const torch::Tensor& values) {
  return values.sizes().slice(1).vec();
}

}  // namespace

ActivationStore::ActivationStore(Options options)
    : options_(std::move(options)) {
  for (const Sample& sample : options_.source->Samples(options_.split)) {
    labels_.push_back(sample.label);
  }
  if (options_.measures_acquisition) acquisition_.resize(labels_.size());
  if (options_.device_seed.has_value()) devices_.resize(labels_.size());
}

absl::StatusOr<std::unique_ptr<ActivationStore>> ActivationStore::Create(
    Options options, const ProgressSink& progress) {
  std::unique_ptr<ActivationStore> store(
      new ActivationStore(std::move(options)));
  FG_RETURN_IF_ERROR(store->Fill(progress));
  return store;
}

absl::Status ActivationStore::Fill(const ProgressSink& progress) {
  if (options_.stage > 0 && options_.cache != nullptr) {
    table_ = std::make_unique<FeatureTable>(*options_.cache, options_.space);
    keys_.resize(count() * view_count());
    if (!table_->dims().empty()) Choose(table_->dims());
  }
  for (int64_t begin = 0; begin < count(); begin += kChunk) {
    FG_RETURN_IF_ERROR(
        progress(static_cast<double>(begin) / count(), "features"));
    if (place_ == Place::kNowhere) return absl::OkStatus();
    std::vector<int64_t> chunk(std::min(kChunk, count() - begin));
    std::iota(chunk.begin(), chunk.end(), begin);
    FG_ASSIGN_OR_RETURN(torch::Tensor images, LoadImages(chunk));
    std::vector<Digest> digests(table_ == nullptr ? 0 : chunk.size());
    at::parallel_for(0, static_cast<int64_t>(digests.size()), 1,
                     [&](int64_t from, int64_t to) {
                       for (int64_t i = from; i < to; ++i) {
                         digests[i] = Sha256(RowBytes(images, i));
                       }
                     });
    for (int64_t view = 0; view < view_count(); ++view) {
      FG_RETURN_IF_ERROR(FillRows(images, begin, digests, view));
      if (place_ == Place::kNowhere) return absl::OkStatus();
    }
  }
  if (table_ != nullptr) {
    const absl::Status stored = table_->Flush();
    if (!stored.ok()) {  // only speed is lost
      FG_LOG_WARNING("feature cache: activations are not kept: {}",
                     std::string(stored.message()));
    }
  }
  if (place_ == Place::kMemory) table_ = nullptr;
  return absl::OkStatus();
}

absl::Status ActivationStore::FillRows(const torch::Tensor& images,
                                       int64_t begin,
                                       const std::vector<Digest>& digests,
                                       int64_t view) {
  std::vector<int64_t> missing, indices, rows;
  for (int64_t i = 0; i < images.size(0); ++i) {
    const int64_t row = RowOf(begin + i, view);
    if (table_ != nullptr) {
      keys_[row] = KeyOf(digests[i], begin + i, view);
      if (ReadCached(row)) continue;
    }
    missing.push_back(i);
    indices.push_back(begin + i);
    rows.push_back(row);
  }
  if (missing.empty()) return absl::OkStatus();
  torch::Tensor inputs = images;
  if (options_.views > 0 ||
      missing.size() < static_cast<size_t>(images.size(0))) {
    inputs = images.index_select(0, torch::tensor(missing));
  }
  if (options_.views > 0) {
    ApplyViews(options_.augmentation, options_.seed,
               static_cast<uint64_t>(view), indices, inputs);
  }
  computed_ += inputs.size(0);
  Keep(rows, RunFrozen(inputs));
  return absl::OkStatus();
}

void ActivationStore::Choose(const std::vector<int64_t>& dims) {
  uint64_t values = static_cast<uint64_t>(count() * view_count());
  for (int64_t dim : dims) values *= static_cast<uint64_t>(dim);
  const uint64_t disk_bytes =
      values * (options_.half ? 2 : 4) +
      static_cast<uint64_t>(count() * view_count()) *
          (sizeof(Digest::bytes) + 2 * kSegmentTagBytes);
  if (table_ != nullptr && disk_bytes > options_.cache->bytes_max()) {
    FG_LOG_WARNING(
        "feature cache: activations of the {} split need {} MiB, the limit is "
        "{}: they are computed again when needed",
        std::string(SplitName(options_.split)), disk_bytes >> 20,
        options_.cache->bytes_max() >> 20);
    table_ = nullptr;
  }
  if (values * sizeof(float) <= options_.bytes_max) {
    place_ = Place::kMemory;
    std::vector<int64_t> shape = dims;
    shape.insert(shape.begin(), count() * view_count());
    kept_ = torch::empty(shape, torch::kFloat32);
    return;
  }
  place_ = table_ != nullptr ? Place::kDisk : Place::kNowhere;
  if (place_ == Place::kNowhere) {
    FG_LOG_INFO("activations of {} images ({} MiB) are not kept", count(),
                values * sizeof(float) >> 20);
  }
}

bool ActivationStore::ReadCached(int64_t row) {
  if (!table_->Contains(keys_[row])) return false;
  if (place_ == Place::kDisk) return true;
  if (!options_.half) {
    float* to = kept_.data_ptr<float>() + row * kept_.stride(0);
    return table_
        ->Read(keys_[row], {reinterpret_cast<uint8_t*>(to),
                            kept_.stride(0) * sizeof(float)})
        .ok();
  }
  torch::Tensor half = torch::empty(kept_.sizes().slice(1), torch::kFloat16);
  if (!table_
           ->Read(keys_[row],
                  {static_cast<uint8_t*>(half.data_ptr()), half.nbytes()})
           .ok()) {
    return false;
  }
  kept_[row].copy_(half);
  return true;
}

void ActivationStore::Keep(const std::vector<int64_t>& rows,
                           const torch::Tensor& values) {
  if (place_ == Place::kUnknown) Choose(RowDims(values));
  if (place_ == Place::kMemory) {
    kept_.index_copy_(0, torch::tensor(rows), values);
  }
  if (table_ == nullptr) return;
  const torch::Tensor stored =
      options_.half ? values.to(torch::kFloat16) : values;
  for (size_t i = 0; i < rows.size(); ++i) {
    // Images may be equal, so the row may have come meanwhile.
    if (table_->Contains(keys_[rows[i]])) continue;
    const absl::Status added =
        table_->Add(keys_[rows[i]], RowDims(stored),
                    RowBytes(stored, static_cast<int64_t>(i)));
    if (added.ok()) continue;
    FG_LOG_WARNING("feature cache: activations are not kept: {}",
                   std::string(added.message()));
    // What is on disk already stays readable for the other place.
    if (place_ == Place::kMemory) table_ = nullptr;
    return;
  }
}

Digest ActivationStore::KeyOf(const Digest& image, int64_t index,
                              int64_t view) const {
  if (options_.views == 0) return image;
  // What is done to the image, not which view of which run it is.
  const View change = DrawView(options_.augmentation,
                               {options_.seed, static_cast<uint64_t>(view),
                                static_cast<uint64_t>(index)},
                               options_.preprocessor->size());
  ByteWriter key;
  key.Raw(image.bytes).U8(change.mirrored);
  for (double value : {change.radians, change.shift_x, change.shift_y}) {
    key.U64(std::bit_cast<uint64_t>(value));
  }
  return Sha256(key.bytes());
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
  at::parallel_for(
      0, static_cast<int64_t>(images.size()), 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const size_t index = static_cast<size_t>(images[i]);
          absl::StatusOr<Image> image =
              options_.source->Load(options_.split, index);
          absl::Status status = image.ok()
                                    ? options_.preprocessor->Apply(
                                          *image, {data + i * stride, stride})
                                    : image.status();
          if (status.ok()) {
            if (!acquisition_.empty()) {
              acquisition_[index] = MeasureAcquisition(*image);
            }
            if (!devices_.empty()) {
              devices_[index] =
                  BinsOfDevice(*options_.device_seed, image->device);
            }
            continue;
          }
          const std::string& name =
              options_.source->Samples(options_.split)[index].name;
          std::lock_guard<std::mutex> lock(mutex);
          if (first_error.ok()) {
            first_error = Annotate(status, absl::StrCat("image ", name));
          }
        }
      });
  FG_RETURN_IF_ERROR(first_error);
  return result;
}

void ActivationStore::ApplyViews(const AugmentationSpec& spec, uint64_t seed,
                                 uint64_t view, const std::vector<int64_t>& at,
                                 torch::Tensor& images) const {
  images = images.contiguous();
  float* data = images.data_ptr<float>();
  const size_t stride = options_.preprocessor->output_size();
  at::parallel_for(0, images.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Augment(spec, {seed, view, static_cast<uint64_t>(at[i])},
              options_.preprocessor->size(), {data + i * stride, stride});
    }
  });
}

torch::Tensor ActivationStore::RunFrozen(const torch::Tensor& images) const {
  if (options_.stage == 0) return images;
  torch::NoGradGuard no_grad;
  AutocastScope autocast(*options_.compute);
  torch::Tensor result =
      RunInBatches(images, kFrozenBatch, [&](const torch::Tensor& batch) {
        return options_.network
            ->Run(batch.to(options_.compute->device), 0, options_.stage)
            .to(torch::kCPU, torch::kFloat32)
            .contiguous();
      });
  return options_.half ? RoundToHalf(result) : result;
}

absl::StatusOr<torch::Tensor> ActivationStore::ComputeAgain(
    const std::vector<int64_t>& images, int64_t view) const {
  FG_ASSIGN_OR_RETURN(torch::Tensor loaded, LoadImages(images));
  if (options_.views > 0) {
    ApplyViews(options_.augmentation, options_.seed,
               static_cast<uint64_t>(view), images, loaded);
  }
  return RunFrozen(loaded);
}

absl::StatusOr<torch::Tensor> ActivationStore::SelectFromDisk(
    const std::vector<int64_t>& images, int64_t view) const {
  std::vector<int64_t> shape = table_->dims();
  shape.insert(shape.begin(), static_cast<int64_t>(images.size()));
  torch::Tensor stored =
      torch::empty(shape, options_.half ? torch::kFloat16 : torch::kFloat32);
  std::vector<int64_t> missing, missing_images;
  for (size_t i = 0; i < images.size(); ++i) {
    const Digest& key = keys_[RowOf(images[i], view)];
    const ByteSpan row = RowBytes(stored, static_cast<int64_t>(i));
    if (table_->Contains(key) &&
        table_->Read(key, {const_cast<uint8_t*>(row.data()), row.size()})
            .ok()) {
      continue;
    }
    missing.push_back(static_cast<int64_t>(i));
    missing_images.push_back(images[i]);
  }
  torch::Tensor values = stored.to(torch::kFloat32);
  if (!missing.empty()) {
    FG_ASSIGN_OR_RETURN(torch::Tensor again,
                        ComputeAgain(missing_images, view));
    values.index_copy_(0, torch::tensor(missing), again);
  }
  return values;
}

absl::StatusOr<torch::Tensor> ActivationStore::Select(
    const std::vector<int64_t>& images, int64_t view) const {
  if (place_ == Place::kMemory) {
    torch::Tensor rows = torch::tensor(images);
    if (view > 0) rows += RowOf(0, view);
    return kept_.index_select(0, rows);
  }
  if (place_ == Place::kDisk) return SelectFromDisk(images, view);
  return ComputeAgain(images, view);
}

absl::StatusOr<torch::Tensor> ActivationStore::Batch(
    const std::vector<int64_t>& images) const {
  FG_ASSIGN_OR_RETURN(torch::Tensor values, Select(images, 0));
  return values.to(options_.compute->device);
}

absl::StatusOr<torch::Tensor> ActivationStore::TrainingBatch(
    const std::vector<int64_t>& images, const AugmentationSpec& spec,
    uint64_t seed, uint64_t epoch) const {
  const int64_t view =
      static_cast<int64_t>(epoch % static_cast<uint64_t>(view_count()));
  FG_ASSIGN_OR_RETURN(torch::Tensor values, Select(images, view));
  if (options_.stage == 0 && options_.views == 0 && spec.any()) {
    ApplyViews(spec, seed, epoch, images, values);
  }
  return values.to(options_.compute->device);
}

}  // namespace fedgraft
