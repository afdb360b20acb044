#include "client/data/image_header.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";
constexpr uint8_t kJpegStart = 0xD8, kJpegEnd = 0xD9, kJpegScan = 0xDA;

absl::Status Truncated(ImageFormat format) {
  return absl::DataLossError(
      absl::StrCat(ImageFormatName(format), " file is cut short"));
}

// Integers of either byte order; nothing beyond the end of the file.
class FileView {
 public:
  FileView(ByteSpan file, bool little_endian)
      : file_(file), little_endian_(little_endian) {}

  std::optional<uint64_t> At(uint64_t offset, int bytes) const {
    const uint64_t count = static_cast<uint64_t>(bytes);
    if (offset > file_.size() || count > file_.size() - offset) return {};
    uint64_t value = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t byte =
          file_[offset + (little_endian_ ? count - 1 - i : i)];
      value = value << 8 | byte;
    }
    return value;
  }

 private:
  ByteSpan file_;
  bool little_endian_;
};

absl::StatusOr<ImageHeader> ReadPng(ByteSpan file) {
  const FileView view(file, /*little_endian=*/false);
  ImageHeader header;
  header.format = ImageFormat::kPng;
  // A chunk: length, type, data, checksum. The decoder verifies checksums.
  uint64_t offset = kPngSignature.size();
  for (bool first = true;; first = false) {
    const auto length = view.At(offset, 4), type = view.At(offset + 4, 4);
    if (!length || !type || !view.At(offset + 8 + *length, 4)) {
      return Truncated(header.format);
    }
    if (first) {
      if (*type != 0x49484452 || *length != 13) {  // IHDR
        return absl::InvalidArgumentError("PNG file does not start with IHDR");
      }
      header.width = *view.At(offset + 8, 4);
      header.height = *view.At(offset + 12, 4);
    }
    if (*type == 0x49454E44) return header;  // IEND
    offset += 12 + *length;
  }
}

absl::StatusOr<ImageHeader> ReadJpeg(ByteSpan file) {
  const FileView view(file, /*little_endian=*/false);
  ImageHeader header;
  header.format = ImageFormat::kJpeg;
  uint64_t offset = 2;
  while (true) {
    const auto mark = view.At(offset, 1), code = view.At(offset + 1, 1);
    if (!mark || !code) return Truncated(header.format);
    if (*mark != 0xFF || *code == 0) {
      return absl::InvalidArgumentError("JPEG file has a broken structure");
    }
    if (*code == 0xFF) {  // fill byte
      ++offset;
      continue;
    }
    const auto length = view.At(offset + 2, 2);
    if (!length || *length < 2) return Truncated(header.format);
    // Start of frame: C0..CF without DHT, JPG and DAC.
    const bool frame = *code >= 0xC0 && *code <= 0xCF && *code != 0xC4 &&
                       *code != 0xC8 && *code != 0xCC;
    if (frame) {
      const auto height = view.At(offset + 5, 2),
                 width = view.At(offset + 7, 2);
      if (!height || !width) return Truncated(header.format);
      header.height = *height;
      header.width = *width;
    }
    offset += 2 + *length;
    if (*code == kJpegScan) break;
  }
  // libjpeg fills what is missing with grey and only warns, so that the end
  // mark has to be looked for.
  constexpr uint8_t kEnd[] = {0xFF, kJpegEnd};
  const auto scan = file.begin() + std::min<uint64_t>(offset, file.size());
  if (std::search(scan, file.end(), kEnd, kEnd + 2) == file.end()) {
    return Truncated(header.format);
  }
  return header;
}

// Tags of a TIFF directory that matter here.
struct TiffTags {
  uint64_t width = 0, height = 0, bits = 1, photometric = 1, format = 1;
};

absl::StatusOr<TiffTags> ReadTiffTags(const FileView& view) {
  const bool big = view.At(2, 2) == 43;
  const int word = big ? 8 : 4;  // offsets and counts
  const auto directory = view.At(big ? 8 : 4, word);
  const auto entries =
      directory ? view.At(*directory, big ? 8 : 2) : std::nullopt;
  if (!entries) return Truncated(ImageFormat::kTiff);
  TiffTags tags;
  for (uint64_t i = 0; i < std::min<uint64_t>(*entries, 65536); ++i) {
    const uint64_t entry = *directory + (big ? 8 : 2) + i * (big ? 20 : 12);
    const auto tag = view.At(entry, 2), type = view.At(entry + 2, 2);
    const auto count = view.At(entry + 4, word);
    if (!tag || !type || !count) return Truncated(ImageFormat::kTiff);
    const int size = *type == 1 ? 1 : *type == 3 ? 2 : *type == 4 ? 4 : 8;
    uint64_t at = entry + 4 + word;
    // Values that do not fit into the entry are elsewhere; the first is enough.
    if (*count > static_cast<uint64_t>(word / size)) {
      at = view.At(at, word).value_or(UINT64_MAX);
    }
    const auto value = view.At(at, size);
    uint64_t* const wanted = *tag == 256   ? &tags.width
                             : *tag == 257 ? &tags.height
                             : *tag == 258 ? &tags.bits
                             : *tag == 262 ? &tags.photometric
                             : *tag == 339 ? &tags.format
                                           : nullptr;
    if (wanted == nullptr) continue;
    if (!value) return Truncated(ImageFormat::kTiff);
    *wanted = *value;
  }
  return tags;
}

absl::StatusOr<ImageHeader> ReadTiff(ByteSpan file) {
  const FileView view(file, /*little_endian=*/file[0] == 'I');
  FG_ASSIGN_OR_RETURN(const TiffTags tags, ReadTiffTags(view));
  if ((tags.bits != 1 && tags.bits != 8 && tags.bits != 16) ||
      tags.format != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a TIFF file of 1, 8 or 16 bits per value, unsigned; found ",
        tags.bits, " bits, sample format ", tags.format));
  }
  ImageHeader header;
  header.format = ImageFormat::kTiff;
  header.width = tags.width;
  header.height = tags.height;
  header.white_is_zero = tags.photometric == 0;
  return header;
}

}  // namespace

std::string ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kTiff:
      break;
  }
  return "TIFF";
}

absl::StatusOr<ImageHeader> ReadImageHeader(ByteSpan file) {
  using namespace std::string_view_literals;
  const std::string_view text = AsText(file);
  if (text.starts_with(kPngSignature)) return ReadPng(file);
  if (file.size() >= 3 && file[0] == 0xFF && file[1] == kJpegStart &&
      file[2] == 0xFF) {
    return ReadJpeg(file);
  }
  if (text.starts_with("II*\0"sv) || text.starts_with("MM\0*"sv) ||
      text.starts_with("II+\0"sv) || text.starts_with("MM\0+"sv)) {
    return ReadTiff(file);
  }
  return absl::InvalidArgumentError(
      file.empty() ? "expected a PNG, JPEG or TIFF file, found an empty one"
                   : "expected a PNG, JPEG or TIFF file, found another format");
}

}  // namespace fedgraft
