#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/shift/simulated_federation.h"

namespace fedgraft {

// Features that shift_pools wrote: rows of label, patient, features.
class FeaturePool {
 public:
  // On the directions that a sketch would take them on, with a seed of 0.
  // INVALID_ARGUMENT or NOT_FOUND naming the file.
  static absl::StatusOr<FeaturePool> Load(const std::string& path);

  int64_t count() const { return static_cast<int64_t>(labels_.size()); }
  int64_t feature_dim() const { return dim_; }
  const std::vector<int64_t>& labels() const { return labels_; }
  const std::vector<int64_t>& patients() const { return patients_; }
  // These rows, and n rows at random, none twice. REQUIRES: n <= count().
  SimulatedRecords Take(const std::vector<int64_t>& rows) const;
  SimulatedRecords Draw(int64_t n, std::mt19937_64& random) const;

 private:
  int64_t dim_ = 0;
  std::vector<double> features_;
  std::vector<int64_t> labels_, patients_;
};

}  // namespace fedgraft
