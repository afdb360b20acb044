#include "client/data/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

// Deflate packs at most 258 bytes into 2 bits, about 1,032 to 1.
constexpr uint64_t kDeflateRatioMax = 1040;

}  // namespace

struct ZipMember::File {
  zip_file_t* file = nullptr;
  ~File() {
    if (file != nullptr) zip_fclose(file);
  }
};

struct ZipArchive::Handle {
  zip_t* archive = nullptr;
  uint64_t file_bytes = 0;
  ~Handle() {
    if (archive != nullptr) zip_discard(archive);
  }
};

ZipMember::ZipMember(std::unique_ptr<File> file, std::string name,
                     uint64_t size_bytes)
    : file_(std::move(file)), name_(std::move(name)), size_bytes_(size_bytes) {}
ZipMember::ZipMember(ZipMember&&) noexcept = default;
ZipMember::~ZipMember() = default;

absl::Status ZipMember::Read(absl::Span<uint8_t> out) {
  while (!out.empty()) {
    const zip_int64_t got = zip_fread(file_->file, out.data(), out.size());
    if (got < 0) {
      return absl::DataLossError(
          absl::StrCat(name_, ": ", zip_file_strerror(file_->file)));
    }
    if (got == 0) {
      return absl::DataLossError(
          absl::StrCat(name_, ": ends ", out.size(), " bytes too early"));
    }
    out.remove_prefix(static_cast<size_t>(got));
  }
  return absl::OkStatus();
}

absl::Status ZipMember::Finish() {
  uint8_t byte = 0;
  const zip_int64_t got = zip_fread(file_->file, &byte, 1);
  if (got == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      name_, ": ",
      got > 0 ? "bytes after the end" : zip_file_strerror(file_->file)));
}

ZipArchive::ZipArchive(std::unique_ptr<Handle> handle)
    : handle_(std::move(handle)) {}
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive::~ZipArchive() = default;

absl::StatusOr<ZipArchive> ZipArchive::Open(const std::string& path,
                                            int64_t members_max) {
  int code = 0;
  auto handle = std::make_unique<Handle>();
  handle->archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (handle->archive == nullptr) {
    if (code == ZIP_ER_NOENT || (code == ZIP_ER_OPEN && errno == ENOENT)) {
      return absl::NotFoundError("no such file");
    }
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    return absl::InvalidArgumentError(
        absl::StrCat("expected a zip file: ", reason));
  }
  std::error_code ignored;  // then the size is the largest number: no limit
  handle->file_bytes = std::filesystem::file_size(path, ignored);
  const zip_int64_t members = zip_get_num_entries(handle->archive, 0);
  if (members > members_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at most ", members_max, " members, found ", members));
  }
  std::set<std::string> names;
  for (zip_int64_t i = 0; i < members; ++i) {
    const char* name =
        zip_get_name(handle->archive, static_cast<zip_uint64_t>(i), 0);
    if (name == nullptr || !names.insert(name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("member ", i, " has no name or one seen before"));
    }
  }
  return ZipArchive(std::move(handle));
}

bool ZipArchive::Contains(const std::string& name) const {
  return zip_name_locate(handle_->archive, name.c_str(), 0) >= 0;
}

std::vector<std::string> ZipArchive::Names() const {
  std::vector<std::string> names;
  const zip_int64_t members = zip_get_num_entries(handle_->archive, 0);
  for (zip_int64_t i = 0; i < members; ++i) {
    const char* name =
        zip_get_name(handle_->archive, static_cast<zip_uint64_t>(i), 0);
    names.emplace_back(name == nullptr ? "" : name);
  }
  return names;
}

absl::StatusOr<ZipMember> ZipArchive::OpenMember(
    const std::string& name) const {
  zip_stat_t stat;
  if (zip_stat(handle_->archive, name.c_str(), 0, &stat) != 0) {
    return absl::NotFoundError(absl::StrCat("no member ", name));
  }
  constexpr zip_uint64_t kNeeded = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                   ZIP_STAT_COMP_METHOD |
                                   ZIP_STAT_ENCRYPTION_METHOD;
  if ((stat.valid & kNeeded) != kNeeded ||
      stat.encryption_method != ZIP_EM_NONE ||
      (stat.comp_method != ZIP_CM_STORE &&
       stat.comp_method != ZIP_CM_DEFLATE)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected a plain or deflated member without encryption"));
  }
  if (stat.size / kDeflateRatioMax > stat.comp_size) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": declares ", stat.size, " bytes, which ",
                     stat.comp_size, " packed bytes cannot hold"));
  }
  auto file = std::make_unique<ZipMember::File>();
  file->file = zip_fopen(handle_->archive, name.c_str(), 0);
  if (file->file == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", zip_strerror(handle_->archive)));
  }
  return ZipMember(std::move(file), name, stat.size);
}

}  // namespace fedgraft
