#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/features/feature_segment.h"
#include "common/base/digest.h"
#include "common/base/secret.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// Where a site keeps activations between runs; see SessionConfig.
struct FeatureCacheSpec {
  std::string folder;  // empty: nothing is kept on disk
  uint64_t bytes_max = 0;
  bool half = false;     // values as F16
  std::string key_file;  // empty: not encrypted
};

// A folder of segments (client/features/feature_segment.h) with a size limit,
// shared by all runs of a site. Segments of one space hold rows by key; what
// was used longest ago is evicted first, by whole segments.
//
//   <first 32 hex digits of the space>-<of the keys' hash>.features
//   usage       names of the segments, the one used longest ago first
//
// The folder is a cache and no truth: a file that is damaged, cut, or written
// under another key is removed with a warning and made anew by whoever needs
// it. A crash at any instant leaves whole segments and perhaps a *.tmp file,
// which the next Open removes. Two processes may work in one folder: they find
// each other's segments, and the limit holds up to what both write at once.
//
// Not thread-safe.
class FeatureCache {
 public:
  struct Options {
    FileStore* files = nullptr;  // outlives the cache and its tables
    // The folder of `files` if it is on a real disk: segments are mapped.
    std::string mapped_root;
    uint64_t bytes_max = 0;
    SecretBytes key;                 // empty: not encrypted
    RandomSource* random = nullptr;  // outlives the cache
  };

  // Removes what cannot be used: leftovers of a crash, damaged files, files
  // that are encrypted and should not be or the other way round.
  static absl::StatusOr<std::unique_ptr<FeatureCache>> Open(Options options);
  // A cache in a folder of this machine. FAILED_PRECONDITION: the key file is
  // missing, can be read by others, or has fewer than 32 bytes.
  static absl::StatusOr<std::unique_ptr<FeatureCache>> Open(
      const FeatureCacheSpec& spec);
  ~FeatureCache();

  uint64_t bytes_max() const { return options_.bytes_max; }
  uint64_t bytes() const;  // of all segments

  // Names of the segments of a space.
  std::vector<std::string> Segments(const Digest& space);
  // Errors as of FeatureSegment::Open; the file is then removed.
  absl::StatusOr<std::unique_ptr<FeatureSegment>> OpenSegment(
      const std::string& name);
  // Evicts until the new segment fits, then writes it; returns its name.
  // RESOURCE_EXHAUSTED: it alone is larger than the limit, or the disk is full.
  absl::StatusOr<std::string> Store(const SegmentContent& content);
  // Of the next ones to be evicted these are the last.
  void MarkUsed(const std::set<std::string>& names);
  // Removes a segment of which a row was damaged.
  void Drop(const std::string& name, const absl::Status& why);

 private:
  struct Segment {
    uint64_t bytes = 0;
    Digest space;
  };
  struct Owned;  // what the second Open makes

  explicit FeatureCache(Options options);
  absl::Status RemoveLeftovers();
  // Takes in what is in the folder now.
  absl::Status Refresh();
  void Inspect(const std::string& name);
  void LoadUsage();
  void SaveUsage();
  void Forget(const std::string& name);
  void Remove(const std::string& name);

  std::unique_ptr<Owned> owned_;
  Options options_;
  std::map<std::string, Segment> segments_;
  std::vector<std::string> order_;  // of segments_, used longest ago first
};

}  // namespace fedgraft
