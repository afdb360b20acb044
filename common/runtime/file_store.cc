#include "common/runtime/file_store.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

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
