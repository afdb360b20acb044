#include "client/update/update_file.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/crc32c.h"
#include "common/base/status_macros.h"
#include "common/crypto/sealed_stream.h"
#include "common/crypto/sha256.h"
#include "common/protocol/codec.h"
#include "common/protocol/seal_suite.h"
#include "common/protocol/statements.h"

namespace fedgraft {
namespace {

// sealed bytes | header (protobuf) | u32 CRC-32C of the sealed bytes | u32 size
// of the header | SHA-256 of these three | magic
constexpr std::string_view kMagic = "FGUPDAT2";
constexpr uint64_t kTailBytes = 4 + 4 + 32 + 8;
constexpr uint32_t kHeaderBytesMax = 4096;
constexpr size_t kSignatureBytes = 64;

// The first `size` bytes of a file.
class FilePrefix : public ReadableFile {
 public:
  FilePrefix(std::unique_ptr<ReadableFile> file, uint64_t size)
      : file_(std::move(file)), size_(size) {}
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    if (offset > size_ || out.size() > size_ - offset) {
      return absl::OutOfRangeError(
          absl::StrCat("read of ", out.size(), " bytes at ", offset,
                       " of a sealed update of ", size_));
    }
    return file_->ReadAt(offset, out);
  }
  uint64_t size_bytes() const override { return size_; }

 private:
  std::unique_ptr<ReadableFile> file_;
  uint64_t size_;
};

Bytes EncodeTrailer(const UploadHeader& header, uint32_t crc) {
  ByteWriter writer;
  const std::string wire = ToWire(header).SerializeAsString();
  writer.Raw(AsBytes(wire)).U32(crc).U32(static_cast<uint32_t>(wire.size()));
  const Digest digest = Sha256(writer.bytes());
  writer.Raw(digest.bytes).Raw(AsBytes(kMagic));
  return std::move(writer).Take();
}

// Of an update with this header; digest and signature may still be missing.
uint64_t TrailerBytes(UploadHeader header) {
  header.signature.resize(kSignatureBytes);
  return EncodeTrailer(header, 0).size();
}

absl::Status Damaged(std::string_view path, std::string_view what) {
  return absl::DataLossError(absl::StrCat("stored update ", std::string(path),
                                          " ", std::string(what)));
}

uint32_t LittleU32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8 |
         uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

struct Trailer {
  UploadHeader header;
  uint32_t crc = 0;
};

absl::StatusOr<Trailer> ReadTrailer(const ReadableFile& file,
                                    std::string_view path) {
  const uint64_t size = file.size_bytes();
  if (size < kTailBytes) return Damaged(path, "is unfinished");
  uint8_t tail[kTailBytes];
  FG_RETURN_IF_ERROR(file.ReadAt(size - kTailBytes, absl::MakeSpan(tail)));
  if (std::memcmp(tail + 40, kMagic.data(), kMagic.size()) != 0) {
    return Damaged(path, "is unfinished");
  }
  const uint32_t header_size = LittleU32(tail + 4);
  if (header_size > kHeaderBytesMax || header_size > size - kTailBytes) {
    return Damaged(path, "has a damaged trailer");
  }
  Bytes covered(header_size + 8);
  FG_RETURN_IF_ERROR(
      file.ReadAt(size - kTailBytes - header_size, absl::MakeSpan(covered)));
  const Digest digest = Sha256(covered);
  if (std::memcmp(tail + 8, digest.bytes.data(), 32) != 0) {
    return Damaged(path, "has a damaged trailer");
  }
  pb::UploadHeader wire;
  if (!wire.ParseFromArray(covered.data(), static_cast<int>(header_size))) {
    return Damaged(path, "has a damaged header");
  }
  FG_ASSIGN_OR_RETURN(UploadHeader header, FromWire(wire));
  if (header.size_bytes != size - kTailBytes - header_size) {
    return Damaged(path, "has a size that is not its header's");
  }
  return Trailer{std::move(header), LittleU32(tail)};
}

absl::StatusOr<uint32_t> CrcOf(const ReadableFile& file, uint64_t size) {
  uint32_t crc = 0;
  Bytes buffer(std::min<uint64_t>(size, uint64_t{1} << 20));
  for (uint64_t offset = 0; offset < size; offset += buffer.size()) {
    const auto part = absl::MakeSpan(buffer).subspan(
        0, std::min<uint64_t>(buffer.size(), size - offset));
    FG_RETURN_IF_ERROR(file.ReadAt(offset, part));
    crc = Crc32c(part, crc);
  }
  return crc;
}

// The chunks of a payload, one after another in one buffer.
class PayloadChunks {
 public:
  explicit PayloadChunks(const PayloadSource& payload)
      : payload_(payload),
        shape_{UpdatePayloadHead::kBytes, payload.size_bytes()},
        words_per_chunk_(kSealedChunkBytes * 8 /
                         static_cast<uint64_t>(payload.head().ring.word_bits)) {
  }

  absl::StatusOr<ByteSpan> Make(uint64_t chunk) {
    if (chunk == 0) {
      buffer_ = EncodeUpdateHead(payload_.head());
      return buffer_;
    }
    buffer_.resize(shape_.PlainSize(chunk));
    const uint64_t begin = (chunk - 1) * words_per_chunk_;
    const uint64_t count =
        std::min(words_per_chunk_, payload_.head().count - begin);
    FG_ASSIGN_OR_RETURN(
        const QuantizeTotals of_chunk,
        payload_.PackWords(begin, count, absl::MakeSpan(buffer_)));
    totals_.Add(of_chunk);
    return buffer_;
  }
  const QuantizeTotals& totals() const { return totals_; }

 private:
  const PayloadSource& payload_;
  const SealedStreamShape shape_;
  const uint64_t words_per_chunk_;
  Bytes buffer_;
  QuantizeTotals totals_;
};

std::string FolderOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? "" : std::string(path.substr(0, slash));
}

}  // namespace

absl::StatusOr<std::shared_ptr<ReadableFile>> SealedUpdate::Open(
    FileStore& files) const {
  FG_ASSIGN_OR_RETURN(auto file, files.OpenRead(path_));
  if (file->size_bytes() < header_.size_bytes) {
    return Damaged(path_, "became shorter than its header says");
  }
  return std::make_shared<FilePrefix>(std::move(file), header_.size_bytes);
}

absl::StatusOr<SealedUpdate> UpdateSealer::Seal(QuantizedUpdate&& update,
                                                UploadHeader header,
                                                ByteSpan hpke_public_key,
                                                std::string_view path) {
  const QuantizedUpdate taken = std::move(update);
  return SealPayload(taken.payload(), std::move(header), hpke_public_key, path);
}

absl::StatusOr<SealedUpdate> UpdateSealer::Seal(MaskedUpdate&& update,
                                                UploadHeader header,
                                                ByteSpan hpke_public_key,
                                                std::string_view path) {
  const MaskedUpdate taken = std::move(update);
  return SealPayload(taken.payload(), std::move(header), hpke_public_key, path);
}

absl::StatusOr<SealedUpdate> UpdateSealer::SealPayload(
    const PayloadSource& payload, UploadHeader header, ByteSpan hpke_public_key,
    std::string_view path) {
  const uint64_t payload_bytes = payload.size_bytes();
  header.size_bytes =
      SealedStreamShape{UpdatePayloadHead::kBytes, payload_bytes}.SealedTotal();
  const uint64_t total_bytes = header.size_bytes + TrailerBytes(header);
  // Over the update of the round before, which has the same size.
  FG_ASSIGN_OR_RETURN(const auto file, files_.OpenOverwrite(path, total_bytes));
  SealedStreamDigest digest(UpdatePayloadHead::kBytes, header.size_bytes);
  uint32_t crc = 0;
  const Bytes context = UpdateContext(site_, header);
  const SealTarget target = {.recipient_public_key = hpke_public_key,
                             .info = AsBytes(kUpdateSealInfo),
                             .context = context,
                             .head_bytes = UpdatePayloadHead::kBytes,
                             .algorithm = AlgorithmOf(header.suite)};
  PayloadChunks chunks(payload);
  FG_RETURN_IF_ERROR(SealStream(
      target, payload_bytes, [&](uint64_t chunk) { return chunks.Make(chunk); },
      random_,
      [&](ByteSpan sealed) {
        digest.Update(sealed);
        crc = Crc32c(sealed, crc);
        return file->Append(sealed);
      }));
  FG_CHECK(file->size_bytes() == header.size_bytes);
  header.sealed_digest = digest.Finish();
  header.signature = key_.Sign(UploadStatement(site_, header));
  FG_RETURN_IF_ERROR(file->Append(EncodeTrailer(header, crc)));
  FG_CHECK(file->size_bytes() == total_bytes);
  FG_RETURN_IF_ERROR(file->Sync());
  if (durable_names_.find(path) == durable_names_.end()) {
    FG_RETURN_IF_ERROR(files_.SyncFolder(FolderOf(path)));
    durable_names_.emplace(path);
  }
  SealedUpdate update(std::move(header), std::string(path));
  update.error_rms_ = payload.ErrorRms(chunks.totals());
  return update;
}

absl::StatusOr<SealedUpdate> LoadSealedUpdate(FileStore& files,
                                              std::string_view path) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  FG_ASSIGN_OR_RETURN(Trailer trailer, ReadTrailer(*file, path));
  FG_ASSIGN_OR_RETURN(const uint32_t crc,
                      CrcOf(*file, trailer.header.size_bytes));
  if (crc != trailer.crc) {
    return Damaged(path, "does not have the checksum of its trailer");
  }
  return SealedUpdate(std::move(trailer.header), std::string(path));
}

}  // namespace fedgraft
