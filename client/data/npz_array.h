#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/npy.h"
#include "client/data/zip_archive.h"

namespace fedgraft {

// Rows of an array, at most.
inline constexpr uint64_t kNpzRowsMax = 100'000'000;

// An array of an NPZ archive whose header was read and whose values come next.
struct NpzArray {
  std::string name;
  ZipMember member;
  NpyHeader header;
};

// `name` without ".npy". NOT_FOUND; INVALID_ARGUMENT: not an array, or of
// another size than the archive has, so that nothing need be allocated on the
// word of the header alone.
absl::StatusOr<NpzArray> OpenNpzArray(const ZipArchive& archive,
                                      const std::string& name);

// A whole array of integers, one a row, of shape (N) or (N, 1).
absl::StatusOr<std::vector<int64_t>> ReadNpzIntegers(const ZipArchive& archive,
                                                     const std::string& name);

// "labels: expected one value for each of 3 images, found 4" unless equal.
absl::Status CheckNpzCount(const std::string& name, size_t found,
                           uint64_t expected);

// "name: expected …, found uint8 (3, 2)" as INVALID_ARGUMENT.
absl::Status NpzExpected(std::string_view name, std::string_view what,
                         const NpyHeader& header);

// The labels of an array, each of 0..num_classes - 1, or INVALID_ARGUMENT.
absl::Status CheckNpzLabels(const std::string& name,
                            const std::vector<int64_t>& labels,
                            size_t num_classes);

}  // namespace fedgraft
