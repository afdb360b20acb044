#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {

// What came of gathering: the sum over the sites that took part
// (proto/statistics.proto).
struct GatheredStatistics {
  Digest model;  // the trainable set at which they were taken
  std::vector<uint64_t> words;
  Bytes model_bytes;  // safetensors; empty unless NeedsModel

  double records() const { return static_cast<double>(words[0]); }
};

// Whether the trainable set travels with the sums: what pulls to it later has
// to find it, at sites that join later, too.
bool NeedsModel(const StatisticsLayout& layout);

// Canonical bytes; their SHA-256 names the statistics.
Bytes EncodeGathered(const GatheredStatistics& gathered);
// INVALID_ARGUMENT: not such bytes, not as many words as the layout has, words
// that StatisticsCheck refuses, or a model without the digest that is named.
absl::StatusOr<GatheredStatistics> DecodeGathered(
    const StatisticsLayout& layout, ByteSpan bytes);

}  // namespace fedgraft
