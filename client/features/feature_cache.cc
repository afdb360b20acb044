#include "client/features/feature_cache.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/crypto/system_random.h"
#include "common/runtime/folder_lock.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

constexpr std::string_view kSuffix = ".features";
constexpr const char* kUsage = "usage";
constexpr size_t kKeyBytesMin = 32, kKeyBytesMax = 4096;

std::string SpacePrefix(const Digest& space) {
  return space.Hex().substr(0, 32);
}

std::string NameOf(const SegmentContent& content) {
  Sha256Hasher hasher;
  for (const Digest& key : content.keys) hasher.Update(key.bytes);
  return absl::StrCat(SpacePrefix(content.space), "-",
                      hasher.Finish().Hex().substr(0, 32),
                      std::string(kSuffix));
}

}  // namespace

struct FeatureCache::Owned {
  std::unique_ptr<PosixFileStore> files;
  SystemRandom random;
};

FeatureCache::FeatureCache(Options options) : options_(std::move(options)) {}
FeatureCache::~FeatureCache() = default;

absl::StatusOr<std::unique_ptr<FeatureCache>> FeatureCache::Open(
    Options options) {
  std::unique_ptr<FeatureCache> cache(new FeatureCache(std::move(options)));
  FG_RETURN_IF_ERROR(cache->RemoveLeftovers());
  FG_RETURN_IF_ERROR(cache->Refresh());
  cache->LoadUsage();
  return cache;
}

absl::StatusOr<std::unique_ptr<FeatureCache>> FeatureCache::Open(
    const FeatureCacheSpec& spec) {
  auto owned = std::make_unique<Owned>();
  FG_ASSIGN_OR_RETURN(owned->files, PosixFileStore::Open(spec.folder));
  Options options;
  options.files = owned->files.get();
  options.mapped_root = spec.folder;
  options.bytes_max = spec.bytes_max;
  options.random = &owned->random;
  if (!spec.key_file.empty()) {
    FG_ASSIGN_OR_RETURN(options.key,
                        ReadSecretFile(spec.key_file, kKeyBytesMax));
    if (options.key.size() < kKeyBytesMin) {
      return absl::FailedPreconditionError(absl::StrCat(
          spec.key_file, " has ", options.key.size(), " bytes; expected ",
          kKeyBytesMin, " random bytes or more, as the feature cache's key"));
    }
  }
  FG_ASSIGN_OR_RETURN(std::unique_ptr<FeatureCache> cache,
                      Open(std::move(options)));
  cache->owned_ = std::move(owned);
  return cache;
}

absl::Status FeatureCache::RemoveLeftovers() {
  FG_ASSIGN_OR_RETURN(std::vector<std::string> names, options_.files->List(""));
  for (const std::string& name : names) {
    if (!name.ends_with(".tmp")) continue;
    const absl::Status removed = options_.files->Remove(name);
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  }
  return absl::OkStatus();
}

absl::Status FeatureCache::Refresh() {
  FG_ASSIGN_OR_RETURN(std::vector<std::string> names, options_.files->List(""));
  for (const std::string& known : std::vector<std::string>(order_)) {
    if (!std::binary_search(names.begin(), names.end(), known)) Forget(known);
  }
  for (const std::string& name : names) {
    if (name.ends_with(kSuffix) && !segments_.contains(name)) Inspect(name);
  }
  return absl::OkStatus();
}

void FeatureCache::Inspect(const std::string& name) {
  const auto file = options_.files->OpenRead(name);
  if (!file.ok()) return;  // gone again, or not to be read: not ours to judge
  const absl::StatusOr<SegmentHeader> header = ReadSegmentHeader(**file);
  if (!header.ok()) return Drop(name, header.status());
  if (header->sealed == options_.key.empty()) {
    return Drop(name, absl::FailedPreconditionError(
                          header->sealed ? "encrypted, as is no longer wanted"
                                         : "not encrypted, as is now wanted"));
  }
  segments_[name] = {(*file)->size_bytes(), header->space};
  order_.push_back(name);
}

void FeatureCache::LoadUsage() {
  const absl::StatusOr<Bytes> text = ReadAll(*options_.files, kUsage);
  if (!text.ok()) return;  // only the order of eviction is lost
  const std::vector<std::string> listed =
      absl::StrSplit(std::string(AsText(*text)), '\n', absl::SkipEmpty());
  std::set<std::string> seen;
  std::vector<std::string> used;
  for (const std::string& name : listed) {
    if (segments_.contains(name) && seen.insert(name).second) {
      used.push_back(name);
    }
  }
  std::erase_if(order_, [&](const auto& name) { return seen.contains(name); });
  order_.insert(order_.end(), used.begin(), used.end());
}

void FeatureCache::SaveUsage() {
  const absl::Status saved = WriteAtomically(
      *options_.files, kUsage, AsBytes(absl::StrJoin(order_, "\n") + "\n"));
  if (!saved.ok()) {
    FG_LOG_WARNING("feature cache: the order of use is not kept: {}",
                   std::string(saved.message()));
  }
}

uint64_t FeatureCache::bytes() const {
  uint64_t total = 0;
  for (const auto& [name, segment] : segments_) total += segment.bytes;
  return total;
}

std::vector<std::string> FeatureCache::Segments(const Digest& space) {
  const absl::Status refreshed = Refresh();
  if (!refreshed.ok()) {
    FG_LOG_WARNING("feature cache: {}", std::string(refreshed.message()));
  }
  std::vector<std::string> names;
  for (const auto& [name, segment] : segments_) {
    if (segment.space == space) names.push_back(name);
  }
  return names;
}

absl::StatusOr<std::unique_ptr<FeatureSegment>> FeatureCache::OpenSegment(
    const std::string& name) {
  auto segment = FeatureSegment::Open(
      *options_.files, name, options_.mapped_root, options_.key.span());
  if (absl::IsNotFound(segment.status())) {
    Forget(name);
  } else if (!segment.ok()) {
    Drop(name, segment.status());
  }
  return segment;
}

absl::StatusOr<std::string> FeatureCache::Store(const SegmentContent& content) {
  FG_ASSIGN_OR_RETURN(
      const Bytes file,
      EncodeSegment(content, options_.key.span(), *options_.random));
  if (file.size() > options_.bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a segment of ", file.size(), " bytes in a cache of ",
                     options_.bytes_max));
  }
  FG_RETURN_IF_ERROR(Refresh());
  while (bytes() > options_.bytes_max - file.size()) {
    FG_LOG_INFO("feature cache: {} is evicted", order_.front());
    Remove(std::string(order_.front()));
  }
  const std::string name = NameOf(content);
  FG_RETURN_IF_ERROR(WriteAtomically(*options_.files, name, file));
  Forget(name);  // a new file under an old name
  segments_[name] = {file.size(), content.space};
  order_.push_back(name);
  SaveUsage();
  return name;
}

void FeatureCache::MarkUsed(const std::set<std::string>& names) {
  const std::vector<std::string> before = order_;
  std::stable_partition(order_.begin(), order_.end(), [&](const auto& name) {
    return !names.contains(name);
  });
  if (order_ != before) SaveUsage();
}

void FeatureCache::Drop(const std::string& name, const absl::Status& why) {
  FG_LOG_WARNING("feature cache: {} is removed and made anew when needed: {}",
                 name, std::string(why.message()));
  Remove(name);
}

void FeatureCache::Forget(const std::string& name) {
  segments_.erase(name);
  std::erase(order_, name);
}

void FeatureCache::Remove(const std::string& name) {
  Forget(name);
  const absl::Status removed = options_.files->Remove(name);
  if (!removed.ok() && !absl::IsNotFound(removed)) {
    FG_LOG_WARNING("feature cache: {}", std::string(removed.message()));
  }
}

}  // namespace fedgraft
