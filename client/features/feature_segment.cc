#include "client/features/feature_segment.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr std::string_view kMagic = "FGFS";
constexpr uint32_t kVersion = 1;
constexpr size_t kKeyBytes = sizeof(Digest::bytes);
// A row of 256 MiB is more than any activation; a header that claims more is
// damaged, and arithmetic with it does not overflow.
constexpr uint64_t kRowBytesMax = uint64_t{1} << 28;

uint64_t ReadInteger(ByteSpan& bytes, int size) {
  uint64_t value = 0;
  for (int i = 0; i < size; ++i) value |= uint64_t{bytes[i]} << (8 * i);
  bytes.remove_prefix(size);
  return value;
}

uint64_t TableBytes(uint32_t rows) { return uint64_t{rows} * kKeyBytes; }

// Part numbers: the table is 0.
uint64_t PartOf(uint32_t row) { return uint64_t{row} + 1; }

}  // namespace

Bytes SegmentHeader::Encode() const {
  ByteWriter writer;
  writer.Raw(AsBytes(kMagic)).U32(kVersion).U32(sealed ? 1 : 0);
  writer.U32(rows).U64(row_bytes).U32(static_cast<uint32_t>(dims.size()));
  for (size_t i = 0; i < kFeatureDimsMax; ++i) {
    writer.U64(i < dims.size() ? static_cast<uint64_t>(dims[i]) : 0);
  }
  writer.Raw(space.bytes).Raw(salt);
  return std::move(writer).Take();
}

absl::StatusOr<SegmentHeader> SegmentHeader::Decode(ByteSpan bytes) {
  const auto refuse = [](std::string_view what) {
    return absl::DataLossError(
        absl::StrCat("not a feature segment: ", std::string(what)));
  };
  if (bytes.size() != kBytes) return refuse("its header is cut");
  const ByteSpan whole = bytes;
  if (AsText(bytes.subspan(0, 4)) != kMagic) return refuse("other magic");
  bytes.remove_prefix(4);
  if (ReadInteger(bytes, 4) != kVersion) return refuse("unknown version");
  SegmentHeader header;
  header.sealed = ReadInteger(bytes, 4) != 0;
  header.rows = static_cast<uint32_t>(ReadInteger(bytes, 4));
  header.row_bytes = ReadInteger(bytes, 8);
  const uint64_t dims = ReadInteger(bytes, 4);
  if (header.rows == 0 || header.row_bytes == 0 ||
      header.row_bytes > kRowBytesMax || dims == 0 || dims > kFeatureDimsMax) {
    return refuse("impossible sizes");
  }
  for (size_t i = 0; i < kFeatureDimsMax; ++i) {
    const uint64_t dim = ReadInteger(bytes, 8);
    if (i >= dims) continue;
    if (dim == 0 || dim > kRowBytesMax) return refuse("impossible shape");
    header.dims.push_back(static_cast<int64_t>(dim));
  }
  std::copy_n(bytes.begin(), 32, header.space.bytes.begin());
  std::copy_n(bytes.begin() + 32, 32, header.salt.begin());
  if (ByteSpan(header.Encode()) != whole) return refuse("not canonical");
  return header;
}

uint64_t SegmentHeader::RowOffset(uint32_t row) const {
  return kBytes + TableBytes(rows) + kSegmentTagBytes +
         row * (row_bytes + kSegmentTagBytes);
}

absl::StatusOr<Bytes> EncodeSegment(const SegmentContent& content, ByteSpan key,
                                    RandomSource& random) {
  FG_CHECK(!content.keys.empty() && !content.dims.empty());
  FG_CHECK(content.dims.size() <= kFeatureDimsMax);
  FG_CHECK(content.rows.size() == content.keys.size() * content.row_bytes);
  if (content.row_bytes > kRowBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a row of ", content.row_bytes, " bytes; at most ",
                     kRowBytesMax, " are kept"));
  }
  SegmentHeader header;
  header.sealed = !key.empty();
  header.rows = static_cast<uint32_t>(content.keys.size());
  header.row_bytes = content.row_bytes;
  header.dims = content.dims;
  header.space = content.space;
  if (header.sealed) random.Fill(absl::MakeSpan(header.salt));
  const Bytes head = header.Encode();
  FG_ASSIGN_OR_RETURN(const SegmentSeal seal,
                      SegmentSeal::Create(key, header.salt, head));
  Bytes file(header.FileBytes());
  std::copy(head.begin(), head.end(), file.begin());
  Bytes table;
  table.reserve(TableBytes(header.rows));
  for (const Digest& digest : content.keys) {
    table.insert(table.end(), digest.bytes.begin(), digest.bytes.end());
  }
  const absl::Span<uint8_t> out = absl::MakeSpan(file);
  FG_RETURN_IF_ERROR(seal.Close(
      0, table, out.subspan(head.size(), table.size() + kSegmentTagBytes)));
  for (uint32_t row = 0; row < header.rows; ++row) {
    FG_RETURN_IF_ERROR(
        seal.Close(PartOf(row),
                   ByteSpan(content.rows)
                       .subspan(row * content.row_bytes, content.row_bytes),
                   out.subspan(header.RowOffset(row),
                               content.row_bytes + kSegmentTagBytes)));
  }
  return file;
}

absl::StatusOr<SegmentHeader> ReadSegmentHeader(const ReadableFile& file) {
  Bytes head(SegmentHeader::kBytes);
  if (file.size_bytes() < head.size()) {
    return absl::DataLossError("not a feature segment: too short");
  }
  FG_RETURN_IF_ERROR(file.ReadAt(0, absl::MakeSpan(head)));
  FG_ASSIGN_OR_RETURN(SegmentHeader header, SegmentHeader::Decode(head));
  if (header.FileBytes() != file.size_bytes()) {
    return absl::DataLossError(absl::StrCat("a feature segment of ",
                                            file.size_bytes(), " bytes for ",
                                            header.FileBytes()));
  }
  return header;
}

absl::StatusOr<std::unique_ptr<FeatureSegment>> FeatureSegment::Open(
    FileStore& files, const std::string& name, const std::string& mapped_root,
    ByteSpan key) {
  FG_ASSIGN_OR_RETURN(auto file, files.OpenRead(name));
  FG_ASSIGN_OR_RETURN(SegmentHeader header, ReadSegmentHeader(*file));
  if (header.sealed == key.empty()) {
    return absl::DataLossError(
        absl::StrCat(name, header.sealed ? " is encrypted, and there is no key"
                                         : " is not encrypted"));
  }
  FG_ASSIGN_OR_RETURN(SegmentSeal seal,
                      SegmentSeal::Create(key, header.salt, header.Encode()));
  std::unique_ptr<FeatureSegment> segment(
      new FeatureSegment(std::move(header), std::move(seal)));
  if (mapped_root.empty()) {
    segment->file_ = std::move(file);
  } else {
    FG_ASSIGN_OR_RETURN(MappedFile map,
                        MappedFile::Open(absl::StrCat(mapped_root, "/", name)));
    if (map.bytes().size() != segment->header_.FileBytes()) {
      return absl::DataLossError(absl::StrCat(name, ": its length changed"));
    }
    segment->map_ = std::move(map);
  }
  const uint64_t table_bytes = TableBytes(segment->header_.rows);
  ByteSpan stored;
  Bytes buffer, table(table_bytes);
  FG_RETURN_IF_ERROR(segment->Fetch(
      SegmentHeader::kBytes, table_bytes + kSegmentTagBytes, buffer, stored));
  FG_RETURN_IF_ERROR(
      Annotate(segment->seal_.Open(0, stored, absl::MakeSpan(table)), name));
  segment->keys_.resize(segment->header_.rows);
  for (size_t i = 0; i < segment->keys_.size(); ++i) {
    std::memcpy(segment->keys_[i].bytes.data(), table.data() + i * kKeyBytes,
                kKeyBytes);
  }
  segment->is_checked_.resize(segment->header_.rows);
  return segment;
}

absl::Status FeatureSegment::Fetch(uint64_t offset, uint64_t size,
                                   Bytes& buffer, ByteSpan& stored) const {
  if (map_.has_value()) {
    stored = map_->bytes().subspan(offset, size);
    return absl::OkStatus();
  }
  buffer.resize(size);
  FG_RETURN_IF_ERROR(file_->ReadAt(offset, absl::MakeSpan(buffer)));
  stored = buffer;
  return absl::OkStatus();
}

absl::Status FeatureSegment::Read(uint32_t row, absl::Span<uint8_t> out) {
  FG_CHECK(row < header_.rows && out.size() == header_.row_bytes);
  ByteSpan stored;
  FG_RETURN_IF_ERROR(Fetch(header_.RowOffset(row),
                           header_.row_bytes + kSegmentTagBytes, buffer_,
                           stored));
  if (is_checked_[row] && !header_.sealed) {
    std::copy_n(stored.begin(), out.size(), out.begin());
    return absl::OkStatus();
  }
  FG_RETURN_IF_ERROR(seal_.Open(PartOf(row), stored, out));
  is_checked_[row] = true;
  return absl::OkStatus();
}

}  // namespace fedgraft
