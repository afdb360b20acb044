#include "client/data/folder_source.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/data/image_codec.h"
#include "client/data/read_file.h"
#include "client/data/splits.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kManifestBytesMax = uint64_t{1} << 30;
constexpr size_t kFolderImagesMax = 10'000'000;

// An encoded file is not larger than its pixels (8 bytes: RGBA of 16 bits)
// and some metadata.
uint64_t FileBytesMax(uint64_t pixels_max) {
  return 8 * pixels_max + (uint64_t{64} << 20);
}

bool IsBelow(const fs::path& root, const fs::path& path) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end())
             .first == root.end();
}

// The image's real path. `root` is canonical.
absl::StatusOr<fs::path> ResolveImage(const fs::path& root,
                                      const ManifestRow& row,
                                      const std::string& column) {
  const fs::path relative(row.image);
  const fs::path normal = relative.lexically_normal();
  if (relative.is_absolute() || normal.empty() || *normal.begin() == "..") {
    return ManifestError(row.line, column, "a path below the image root",
                         row.image);
  }
  std::error_code error;
  const fs::path resolved = fs::canonical(root / normal, error);
  if (error) {
    const absl::Status missing =
        ManifestError(row.line, column,
                      absl::StrCat("a file below ", root.string()), row.image);
    return absl::NotFoundError(
        absl::StrCat(missing.message(), " (", error.message(), ")"));
  }
  if (!IsBelow(root, resolved)) {
    return ManifestError(row.line, column,
                         "a path that no link leads out of the image root",
                         row.image);
  }
  if (!fs::is_regular_file(resolved, error)) {
    return ManifestError(row.line, column, "a regular file", row.image);
  }
  return resolved;
}

bool LooksLikeImage(const fs::path& path) {
  const std::string extension =
      absl::AsciiStrToLower(path.extension().string());
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" ||
         extension == ".tif" || extension == ".tiff" || extension == ".dcm";
}

// The image files below a folder as rows without labels, sorted by path.
absl::StatusOr<std::vector<ManifestRow>> ListFolder(const fs::path& folder) {
  std::vector<ManifestRow> rows;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  while (!error && entry != end) {
    std::error_code ignored;  // a file that vanishes is not listed
    if (entry->is_regular_file(ignored) && LooksLikeImage(entry->path())) {
      if (rows.size() == kFolderImagesMax) {
        return absl::ResourceExhaustedError(
            absl::StrCat("expected at most ", kFolderImagesMax, " images"));
      }
      ManifestRow row;
      row.image = entry->path().lexically_relative(folder).string();
      rows.push_back(std::move(row));
    }
    entry.increment(error);
  }
  if (error) return absl::UnavailableError(error.message());
  std::sort(rows.begin(), rows.end(),
            [](const ManifestRow& a, const ManifestRow& b) {
              return a.image < b.image;
            });
  return rows;
}

class FolderSource final : public DataSource {
 public:
  explicit FolderSource(uint64_t pixels_max) : pixels_max_(pixels_max) {}

  // `root` is canonical; every row has its split.
  absl::Status Fill(const fs::path& root, const FolderOptions& options,
                    std::vector<ManifestRow> rows) {
    for (ManifestRow& row : rows) {
      FG_ASSIGN_OR_RETURN(const fs::path file,
                          ResolveImage(root, row, options.columns.image));
      files_[static_cast<size_t>(*row.split)].push_back(file.string());
      samples_[*row.split].push_back(
          {row.label, std::move(row.patient), std::move(row.image)});
    }
    return absl::OkStatus();
  }
  absl::Status Check(const std::string& where, const DataContext& context) {
    return CheckSplits(where, context, samples_, warnings_);
  }

  const std::vector<Sample>& Samples(Split split) const override {
    return samples_[split];
  }
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override {
    FG_CHECK(index < samples_[split].size());
    const std::string& file = files_[static_cast<size_t>(split)][index];
    absl::StatusOr<Bytes> bytes = ReadDataFile(file, FileBytesMax(pixels_max_));
    if (!bytes.ok()) return Annotate(bytes.status(), file);
    absl::StatusOr<Image> image = DecodeImage(*bytes, pixels_max_);
    if (!image.ok()) return Annotate(image.status(), file);
    return image;
  }

 private:
  const uint64_t pixels_max_;
  SplitSamples samples_;
  std::array<std::vector<std::string>, 3> files_;  // like samples_
  std::vector<std::string> warnings_;
};

absl::StatusOr<std::vector<ManifestRow>> ReadRows(const FolderOptions& options,
                                                  const DataContext& context) {
  std::error_code ignored;
  if ((context.use == DataUse::kPredict || IsUnlabelled(context)) &&
      fs::is_directory(options.path, ignored)) {
    return ListFolder(options.path);
  }
  FG_ASSIGN_OR_RETURN(const Bytes text,
                      ReadDataFile(options.path, kManifestBytesMax));
  return ParseManifest(AsText(text), options.columns, context);
}

absl::StatusOr<fs::path> ResolveRoot(const FolderOptions& options) {
  std::error_code error;
  fs::path root = options.root;
  if (root.empty()) {
    root = options.path;
    if (!fs::is_directory(root, error)) root = root.parent_path();
    if (root.empty()) root = ".";
  }
  const fs::path resolved = fs::canonical(root, error);
  if (error || !fs::is_directory(resolved, error)) {
    return absl::NotFoundError(absl::StrCat(
        "data.root: expected a folder, found ", root.string(),
        error ? absl::StrCat(" (", error.message(), ")") : std::string()));
  }
  return resolved;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenFolderSource(
    const FolderOptions& options, const DataContext& context) {
  FG_RETURN_IF_ERROR(CheckFractions(options.fractions));
  auto rows = ReadRows(options, context);
  if (!rows.ok()) return Annotate(rows.status(), options.path);
  if (IsUnlabelled(context)) {
    for (ManifestRow& row : *rows) {
      row.split = row.split.value_or(Split::kTrain);
    }
  } else {
    AssignSplits(options.fractions, context.use, !options.columns.split.empty(),
                 *rows);
  }
  FG_ASSIGN_OR_RETURN(const fs::path root, ResolveRoot(options));
  auto source = std::make_unique<FolderSource>(options.pixels_max);
  if (absl::Status filled = source->Fill(root, options, *std::move(rows));
      !filled.ok()) {
    return Annotate(filled, options.path);
  }
  FG_RETURN_IF_ERROR(source->Check(options.path, context));
  return std::unique_ptr<DataSource>(std::move(source));
}

}  // namespace fedgraft
