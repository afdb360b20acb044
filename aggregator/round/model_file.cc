#include "aggregator/round/model_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {
namespace {

ByteSpan BytesOf(absl::Span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(float)};
}

}  // namespace

absl::StatusOr<ParameterVector> ReadTrainableSet(const ParameterLayout& layout,
                                                 const ReadableFile& file) {
  ParameterVector values(static_cast<size_t>(layout.Count()));
  const Bytes head = TrainableSetHead(layout, values);
  const uint64_t value_bytes = values.size() * sizeof(float);
  if (file.size_bytes() == head.size() + value_bytes) {
    Bytes found(head.size());
    FG_RETURN_IF_ERROR(file.ReadAt(0, absl::MakeSpan(found)));
    FG_RETURN_IF_ERROR(file.ReadAt(
        head.size(), absl::MakeSpan(reinterpret_cast<uint8_t*>(values.data()),
                                    static_cast<size_t>(value_bytes))));
    if (found == head && std::isfinite(SquaredNorm(values))) return values;
  }
  // Another writer's order of tensors, or an error to name.
  values = ParameterVector();
  Bytes content(file.size_bytes());
  FG_RETURN_IF_ERROR(file.ReadAt(0, absl::MakeSpan(content)));
  return DecodeTrainableSet(layout, content);
}

// The layout's BatchNorm statistics alone are a layout as well.
absl::Status TrainableSetReader::ReadMoments(const ParameterLayout& layout) {
  std::vector<TensorSpec> statistics;
  for (const TensorSpec& tensor : layout.tensors()) {
    if (tensor.kind != TensorKind::kWeight) statistics.push_back(tensor);
  }
  if (statistics.empty()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(const ParameterLayout small,
                      ParameterLayout::Create(std::move(statistics)));
  ParameterVector values(static_cast<size_t>(small.Count()));
  const auto part = [&](size_t i) {
    return absl::MakeSpan(values).subspan(
        static_cast<size_t>(small.Offset(i)),
        static_cast<size_t>(small.tensors()[i].Count()));
  };
  for (size_t i = 0; i < small.tensors().size(); ++i) {
    FG_ASSIGN_OR_RETURN(const size_t t, layout.Find(small.tensors()[i].name));
    FG_RETURN_IF_ERROR(
        ReadPlain(static_cast<uint64_t>(layout.Offset(t)), part(i)));
    moments_.push_back({static_cast<uint64_t>(layout.Offset(t)), {}});
  }
  ToMoments(small, values);
  for (size_t i = 0; i < moments_.size(); ++i) {
    moments_[i].values.assign(part(i).begin(), part(i).end());
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainableSetReader> TrainableSetReader::Open(
    const ParameterLayout& layout, std::shared_ptr<const ReadableFile> file,
    absl::Span<const float> room) {
  const Bytes head = TrainableSetHead(layout, room);
  Bytes found(head.size());
  const uint64_t size = head.size() + room.size() * sizeof(float);
  if (file->size_bytes() == size) {
    FG_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(found)));
  }
  if (found != head) {
    return absl::FailedPreconditionError(
        "the model's tensors are not in the layout's order");
  }
  TrainableSetReader reader(std::move(file), head.size());
  FG_RETURN_IF_ERROR(reader.ReadMoments(layout));
  return reader;
}

absl::Status TrainableSetReader::ReadPlain(uint64_t begin,
                                           absl::Span<float> out) const {
  FG_RETURN_IF_ERROR(
      file_->ReadAt(head_bytes_ + begin * sizeof(float),
                    absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()),
                                   out.size() * sizeof(float))));
  if (std::isfinite(LargestMagnitude(out))) return absl::OkStatus();
  return absl::DataLossError("the model has values that are not finite");
}

absl::Status TrainableSetReader::Read(uint64_t begin,
                                      absl::Span<float> out) const {
  FG_RETURN_IF_ERROR(ReadPlain(begin, out));
  const uint64_t end = begin + out.size();
  for (const Moments& moments : moments_) {
    const uint64_t from = std::max(begin, moments.begin);
    const uint64_t to = std::min(end, moments.begin + moments.values.size());
    for (uint64_t i = from; i < to; ++i) {
      out[i - begin] = moments.values[i - moments.begin];
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<KeptModel> KeepTrainableSet(const ParameterLayout& layout,
                                           absl::Span<const float> values,
                                           uint64_t inline_bytes_max,
                                           BlobStore& blobs) {
  Bytes head = TrainableSetHead(layout, values);
  const ByteSpan data = BytesOf(values);
  KeptModel kept;
  kept.size_bytes = head.size() + data.size();
  if (kept.size_bytes > inline_bytes_max) {
    FG_ASSIGN_OR_RETURN(kept.digest, blobs.PutPieces({head, data}));
    return kept;
  }
  head.insert(head.end(), data.begin(), data.end());
  kept.inline_bytes = std::move(head);
  kept.digest = Sha256(kept.inline_bytes);
  return kept;
}

}  // namespace fedgraft
