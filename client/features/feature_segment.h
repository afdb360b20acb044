#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/features/segment_seal.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/model/mapped_file.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"

// One file of the feature cache: rows of equal size, each found by a key.
//
//   "FGFS" | u32 version (1) | u32 sealed | u32 rows | u64 row_bytes
//   | u32 dim count | u64 dim x 8 (unused ones 0) | space (32) | salt (32)
//   table: rows x 32 bytes of keys, tag            part 0
//   row: row_bytes, tag                            parts 1 .. rows
//
// Written once, as a whole; see segment_seal.h for the tags.

namespace fedgraft {

inline constexpr size_t kFeatureDimsMax = 8;

struct SegmentHeader {
  bool sealed = false;
  uint32_t rows = 0;
  uint64_t row_bytes = 0;
  std::vector<int64_t> dims;  // of one row
  Digest space;
  std::array<uint8_t, 32> salt{};

  static constexpr uint64_t kBytes = 4 + 3 * 4 + 8 + 4 + 8 * 8 + 32 + 32;
  Bytes Encode() const;
  // DATA_LOSS: not a header that Encode makes.
  static absl::StatusOr<SegmentHeader> Decode(ByteSpan bytes);

  uint64_t RowOffset(uint32_t row) const;
  uint64_t FileBytes() const { return RowOffset(rows); }
};

// What a new segment holds.
struct SegmentContent {
  Digest space;
  std::vector<int64_t> dims;
  uint64_t row_bytes = 0;
  std::vector<Digest> keys;
  Bytes rows;  // keys.size() * row_bytes
};

// The bytes of the file. `key` as for SegmentSeal.
absl::StatusOr<Bytes> EncodeSegment(const SegmentContent& content, ByteSpan key,
                                    RandomSource& random);

// Reads the header of a segment file. DATA_LOSS: it is none, or is not as long
// as it says.
absl::StatusOr<SegmentHeader> ReadSegmentHeader(const ReadableFile& file);

// A segment open for reading. Not thread-safe. Keeps its file open or mapped,
// so it can be read on after its name is gone.
class FeatureSegment {
 public:
  // `mapped_root`: the folder of `files` on the real disk, from which the file
  // is mapped; empty: it is read through `files`. NOT_FOUND; DATA_LOSS:
  // damaged, or closed with another key.
  static absl::StatusOr<std::unique_ptr<FeatureSegment>> Open(
      FileStore& files, const std::string& name, const std::string& mapped_root,
      ByteSpan key);

  const SegmentHeader& header() const { return header_; }
  const std::vector<Digest>& keys() const { return keys_; }

  // REQUIRES: row < header().rows, out.size() == header().row_bytes.
  // DATA_LOSS: damaged. Checked when first read; what is encrypted, always.
  absl::Status Read(uint32_t row, absl::Span<uint8_t> out);

 private:
  FeatureSegment(SegmentHeader header, SegmentSeal seal)
      : header_(std::move(header)), seal_(std::move(seal)) {}
  absl::Status Fetch(uint64_t offset, uint64_t size, Bytes& buffer,
                     ByteSpan& stored) const;

  SegmentHeader header_;
  SegmentSeal seal_;
  std::optional<MappedFile> map_;
  std::unique_ptr<ReadableFile> file_;  // if not mapped
  std::vector<Digest> keys_;
  std::vector<bool> is_checked_;
  Bytes buffer_;
};

}  // namespace fedgraft
