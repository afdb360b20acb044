#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

// What stands before the values of a NumPy array file.
struct NpyHeader {
  char kind = 0;       // 'b' bool, 'u' unsigned, 'i' signed, 'f' floating
  int item_bytes = 0;  // 1, 2, 4 or 8
  std::vector<uint64_t> shape;
  uint64_t header_bytes = 0;  // from the magic to the first value
  uint64_t data_bytes = 0;    // item_bytes times the product of the shape

  // "uint8 (546, 28, 28)".
  std::string ToString() const;
  // Bytes of one entry along the first dimension. REQUIRES: shape not empty.
  uint64_t row_bytes() const;
};

// Reads the next bytes of a stream, all of them or an error.
using ReadBytes = std::function<absl::Status(absl::Span<uint8_t>)>;

// Parses the head of a stream in the NPY format, versions 1 to 3, and leaves
// `read` at the first value. Accepts little-endian and one-byte numbers in C
// order; INVALID_ARGUMENT for anything else: object arrays (which would run
// code on loading), structures, strings, Fortran order, big-endian values, a
// shape of more than 8 dimensions or more than 2^62 bytes.
absl::StatusOr<NpyHeader> ReadNpyHeader(const ReadBytes& read);

// Value `index` of an integer array. REQUIRES: kind 'b', 'u' or 'i', and
// (index + 1) * item_bytes <= data.size(). Unsigned values above the largest
// int64 come back as that.
int64_t NpyInteger(const NpyHeader& header, absl::Span<const uint8_t> data,
                   size_t index);

}  // namespace fedgraft
