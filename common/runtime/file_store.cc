#include "common/runtime/file_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status CheckPath(std::string_view path) {
  const auto refuse = [path](std::string_view reason) {
    return absl::InvalidArgumentError(
        absl::StrCat("path '", std::string(path),
                     "' must be relative and inside the "
                     "store, but ",
                     std::string(reason)));
  };
  if (path.find('\0') != path.npos) return refuse("it holds a NUL byte");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty()) return refuse("it has an empty part");
    if (part == "." || part == "..") return refuse("it has a part of dots");
    begin = end + 1;
  }
  return absl::OkStatus();
}

absl::Status CheckFolder(std::string_view folder) {
  return folder.empty() ? absl::OkStatus() : CheckPath(folder);
}

absl::StatusOr<Bytes> ReadAll(FileStore& store, std::string_view path) {
  FG_ASSIGN_OR_RETURN(const auto file, store.OpenRead(path));
  Bytes content(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(content)));
  return content;
}

absl::Status WriteAtomically(FileStore& store, std::string_view path,
                             ByteSpan content) {
  const std::string temporary = std::string(path) + ".tmp";
  FG_ASSIGN_OR_RETURN(const auto file, store.OpenAppend(temporary, 0));
  FG_RETURN_IF_ERROR(file->Append(content));
  FG_RETURN_IF_ERROR(file->Sync());
  return store.Rename(temporary, path);
}

}  // namespace fedgraft
