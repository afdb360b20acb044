#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/features/feature_cache.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"

namespace fedgraft {

// The rows of one space of a FeatureCache, by key. New rows are gathered and
// stored a segment at a time, so that a crash loses the last segment at most.
//
// Rows stay readable while the table lives, even if their segment is evicted.
// Not thread-safe.
class FeatureTable {
 public:
  static constexpr uint64_t kSegmentBytes = uint64_t{16} << 20;

  // `cache` outlives the table. Damaged segments are dropped with a warning.
  FeatureTable(FeatureCache& cache, const Digest& space,
               uint64_t segment_bytes = kSegmentBytes);

  // Shape of a row; empty while the space has none.
  const std::vector<int64_t>& dims() const { return dims_; }
  uint64_t row_bytes() const { return row_bytes_; }

  bool Contains(const Digest& key) const;
  // REQUIRES: Contains(key), out.size() == row_bytes(). DATA_LOSS: the row is
  // damaged; its segment's rows are then no longer contained.
  absl::Status Read(const Digest& key, absl::Span<uint8_t> out);

  // Adds a row that is not contained. REQUIRES: dims and size as of the rows
  // before. An error of the disk: the rows since the last success are not
  // contained.
  absl::Status Add(const Digest& key, const std::vector<int64_t>& dims,
                   ByteSpan row);
  // Stores what was added and notes which segments were read. Errors as of
  // Add.
  absl::Status Flush();

 private:
  struct Place {
    std::string segment;  // empty: not stored yet
    uint32_t row = 0;
  };
  void Load(const std::string& name);

  FeatureCache& cache_;
  const Digest space_;
  const uint64_t segment_bytes_;
  std::vector<int64_t> dims_;
  uint64_t row_bytes_ = 0;
  std::map<std::string, std::unique_ptr<FeatureSegment>> segments_;
  std::map<Digest, Place> places_;
  std::set<std::string> read_;
  SegmentContent added_;
};

}  // namespace fedgraft
