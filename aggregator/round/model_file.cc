#include "aggregator/round/model_file.h"

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
