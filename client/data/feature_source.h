#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/data/splits.h"

namespace fedgraft {

// Longest feature vector, as in plans.
inline constexpr int kFeatureDimMax = 65536;

// Labelled feature vectors in three splits.
struct FeatureSet {
  int dim = 0;
  SplitSamples samples;
  // Of each split, in the order of its samples: [n, dim].
  std::array<std::vector<float>, 3> values;

  std::vector<float>& Values(Split split) {
    return values[static_cast<size_t>(split)];
  }
};

// A source that holds them in memory. Checks splits and labels as CheckSplits
// does. INVALID_ARGUMENT: a value that is not finite, named by its sample.
absl::StatusOr<std::unique_ptr<DataSource>> MakeFeatureSource(
    FeatureSet set, const std::string& where, const DataContext& context);

// Whether `source` gives what a plan expects: feature vectors of this length,
// or images (0). INVALID_ARGUMENT naming both.
absl::Status CheckFeatureDim(const DataSource& source, int expected);

}  // namespace fedgraft
