#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/runtime/file_store.h"
#include "common/shift/look.h"

namespace fedgraft {

// The sums of a gather task on their grid, in the order of
// common/statistics/start_statistics.h.
class StatisticSums {
 public:
  // INVALID_ARGUMENT: not as many sums as the plan asks for, one that is not
  // finite or too large for its grid (naming it), or sums that no records make.
  static absl::StatusOr<StatisticSums> Create(const Plan& plan,
                                              const ParameterLayout& layout,
                                              const std::vector<double>& sums);
  const std::vector<uint64_t>& words() const { return words_; }

 private:
  explicit StatisticSums(std::vector<uint64_t> words)
      : words_(std::move(words)) {}
  std::vector<uint64_t> words_;
};

// The trainer's file: raw little-endian F64. Errors name the file.
absl::StatusOr<StatisticSums> ReadStatisticSums(FileStore& files,
                                                std::string_view path,
                                                const Plan& plan,
                                                const ParameterLayout& layout);

// The sums of a sketch task on their grid, in the order of common/shift/look.h.
class SketchSums {
 public:
  // For the stage under way. INVALID_ARGUMENT: the look is done, or sums that
  // Look::Pack refuses.
  static absl::StatusOr<SketchSums> Create(const Look& look,
                                           absl::Span<const double> sums);
  const std::vector<uint64_t>& words() const { return words_; }

 private:
  explicit SketchSums(std::vector<uint64_t> words) : words_(std::move(words)) {}
  std::vector<uint64_t> words_;
};

// Reads the trainer's files of sketches. Keeps where the look stands, so that a
// stage does not make all those before it again. Not thread-safe.
class SketchSumsReader {
 public:
  // Raw little-endian F64. `pooled_path`: what the stages before came to;
  // empty: the first. Errors name the file.
  absl::StatusOr<SketchSums> Read(FileStore& files, std::string_view path,
                                  const std::string& pooled_path,
                                  const Plan& plan,
                                  const ParameterLayout& layout);

 private:
  std::optional<Look> look_;
  Digest plan_;  // that look_ is of
};

}  // namespace fedgraft
