#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/data/data_source.h"

namespace fedgraft {

// Another source whose training images look as if they came from different
// scanners, so that a backbone pretrained on one scanner serves hospitals that
// have others. Each image gets, drawn once by (seed, index), with strength s:
//   v -> blurred by up to s (0: not, 1: mean of 3 x 3), then
//   v -> min(1, a v^g), log g uniform in +-s, a uniform in 1 +- s / 2.
// Other splits pass unchanged. `source` outlives this. Thread-safe.
class JitteredSource : public DataSource {
 public:
  // REQUIRES: 0 <= strength <= 1.
  JitteredSource(const DataSource& source, double strength, uint64_t seed)
      : source_(source), strength_(strength), seed_(seed) {}

  const std::vector<Sample>& Samples(Split split) const override {
    return source_.Samples(split);
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override;
  const std::vector<std::string>& Warnings() const override {
    return source_.Warnings();
  }

 private:
  const DataSource& source_;
  double strength_;
  uint64_t seed_;
};

}  // namespace fedgraft
