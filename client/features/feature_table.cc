#include "client/features/feature_table.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {

FeatureTable::FeatureTable(FeatureCache& cache, const Digest& space,
                           uint64_t segment_bytes)
    : cache_(cache), space_(space), segment_bytes_(segment_bytes) {
  for (const std::string& name : cache_.Segments(space_)) Load(name);
}

void FeatureTable::Load(const std::string& name) {
  absl::StatusOr<std::unique_ptr<FeatureSegment>> segment =
      cache_.OpenSegment(name);
  if (!segment.ok()) return;  // the cache has said so
  const SegmentHeader& header = (*segment)->header();
  if (dims_.empty()) {
    dims_ = header.dims;
    row_bytes_ = header.row_bytes;
  }
  if (header.dims != dims_ || header.row_bytes != row_bytes_) {
    return cache_.Drop(name, absl::DataLossError("its rows have another shape "
                                                 "than those of its space"));
  }
  const std::vector<Digest>& keys = (*segment)->keys();
  for (uint32_t row = 0; row < keys.size(); ++row) {
    places_[keys[row]] = {name, row};
  }
  segments_[name] = *std::move(segment);
}

bool FeatureTable::Contains(const Digest& key) const {
  return places_.contains(key);
}

absl::Status FeatureTable::Read(const Digest& key, absl::Span<uint8_t> out) {
  const auto place = places_.find(key);
  FG_CHECK(place != places_.end() && out.size() == row_bytes_);
  const std::string name = place->second.segment;
  if (name.empty()) {
    std::copy_n(added_.rows.begin() +
                    static_cast<ptrdiff_t>(place->second.row * row_bytes_),
                row_bytes_, out.begin());
    return absl::OkStatus();
  }
  const absl::Status read = segments_.at(name)->Read(place->second.row, out);
  if (read.ok()) {
    read_.insert(name);
    return read;
  }
  cache_.Drop(name, read);
  segments_.erase(name);
  read_.erase(name);
  std::erase_if(places_,
                [&](const auto& item) { return item.second.segment == name; });
  return read;
}

absl::Status FeatureTable::Add(const Digest& key,
                               const std::vector<int64_t>& dims, ByteSpan row) {
  if (dims_.empty()) {
    dims_ = dims;
    row_bytes_ = row.size();
  }
  FG_CHECK(dims == dims_ && row.size() == row_bytes_ && !Contains(key));
  places_[key] = {"", static_cast<uint32_t>(added_.keys.size())};
  added_.keys.push_back(key);
  added_.rows.insert(added_.rows.end(), row.begin(), row.end());
  return added_.rows.size() >= segment_bytes_ ? Flush() : absl::OkStatus();
}

absl::Status FeatureTable::Flush() {
  cache_.MarkUsed(std::exchange(read_, {}));
  if (added_.keys.empty()) return absl::OkStatus();
  SegmentContent content = std::exchange(added_, {});
  for (const Digest& key : content.keys) places_.erase(key);
  content.space = space_;
  content.dims = dims_;
  content.row_bytes = row_bytes_;
  FG_ASSIGN_OR_RETURN(const std::string name, cache_.Store(content));
  Load(name);
  return absl::OkStatus();
}

}  // namespace fedgraft
