#include "client/agent/feature_cache_setup.h"

#include <cstdint>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status_macros.h"
#include "common/runtime/folder_lock.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "features";
constexpr const char* kKeyFile = "features.key";
constexpr size_t kKeyBytes = 32, kKeyBytesMax = 4096;

uint64_t UsedBytes(const std::string& folder) {
  uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    const uintmax_t size = entry->file_size(ignored);
    if (!ignored) total += size;
  }
  return total;
}

// Of the disk of `folder`, which need not exist yet.
absl::StatusOr<uint64_t> FreeBytes(const std::string& folder) {
  std::error_code error;
  fs::path path = fs::absolute(folder, error);
  while (!error && !fs::exists(path, error) && path.has_relative_path()) {
    path = path.parent_path();
  }
  const fs::space_info space = fs::space(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cache: cannot ask for the free space of ", folder, ": ",
                     error.message()));
  }
  return space.available;
}

absl::Status CheckSize(const pb::CacheConfig& cache,
                       const std::string& folder) {
  FG_ASSIGN_OR_RETURN(const uint64_t free_bytes, FreeBytes(folder));
  const uint64_t used_bytes = UsedBytes(folder);
  const uint64_t room_mib = (free_bytes + used_bytes) >> 20;
  if (static_cast<uint64_t>(cache.size_max_mib()) <= room_mib) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("cache.size_max_mib: found ", cache.size_max_mib(),
                   "; the disk of ", folder, " has ", free_bytes >> 20,
                   " MiB free, and the cache holds ", used_bytes >> 20,
                   " MiB: expected at most ", room_mib, ", or 0 for no cache"));
}

absl::Status CheckKey(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const SecretBytes key,
                      ReadSecretFile(path, kKeyBytesMax));
  if (key.size() >= kKeyBytes) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cache.key_file: ", path, " has ", key.size(),
                   " bytes; expected ", kKeyBytes, " random bytes or more"));
}

absl::Status MakeKey(const std::string& path, RandomSource& random) {
  const fs::path file(path);
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(file.parent_path().string()));
  SecretBytes key(kKeyBytes);
  random.Fill(key.mutable_span());
  return WriteAtomically(*files, file.filename().string(), key.span());
}

}  // namespace

absl::StatusOr<FeatureCacheSetup> CheckFeatureCache(
    const pb::ClientConfig& config) {
  FeatureCacheSetup setup{config.cache(), ""};
  if (setup.config.size_max_mib() <= 0) return setup;
  setup.folder = absl::StrCat(config.state_dir(), "/", kFolder);
  FG_RETURN_IF_ERROR(CheckSize(setup.config, setup.folder));
  if (!setup.config.encrypt()) return setup;
  if (setup.config.key_file().empty()) {
    setup.config.set_key_file(absl::StrCat(config.state_dir(), "/", kKeyFile));
  }
  if (fs::exists(setup.config.key_file())) {
    FG_RETURN_IF_ERROR(CheckKey(setup.config.key_file()));
  }
  return setup;
}

absl::StatusOr<FeatureCacheSetup> SetUpFeatureCache(
    const pb::ClientConfig& config, RandomSource& random) {
  FG_ASSIGN_OR_RETURN(FeatureCacheSetup setup, CheckFeatureCache(config));
  const std::string& key_file = setup.config.key_file();
  const bool has_key = !setup.folder.empty() && setup.config.encrypt();
  if (has_key && !fs::exists(key_file)) {
    FG_RETURN_IF_ERROR(Annotate(MakeKey(key_file, random), "cache.key_file"));
  }
  return setup;
}

}  // namespace fedgraft
