#include "client/train/path_io.h"

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

struct Place {
  std::string folder, name;
};

absl::StatusOr<Place> Split(const std::string& path) {
  const std::filesystem::path parts(path);
  if (!parts.has_filename()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", path, "\" does not name a file"));
  }
  std::string folder = parts.parent_path().string();
  return Place{folder.empty() ? "." : std::move(folder),
               parts.filename().string()};
}

}  // namespace

absl::StatusOr<Bytes> ReadFile(const std::string& path) {
  FG_ASSIGN_OR_RETURN(Place place, Split(path));
  std::error_code error;
  // Opening a store would make the folder.
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, " does not exist"));
  }
  FG_ASSIGN_OR_RETURN(std::unique_ptr<PosixFileStore> store,
                      PosixFileStore::Open(place.folder));
  return ReadAll(*store, place.name);
}

absl::Status WriteFile(const std::string& path, ByteSpan content) {
  FG_ASSIGN_OR_RETURN(Place place, Split(path));
  FG_ASSIGN_OR_RETURN(std::unique_ptr<PosixFileStore> store,
                      PosixFileStore::Open(place.folder));
  return WriteAtomically(*store, place.name, content);
}

}  // namespace fedgraft
