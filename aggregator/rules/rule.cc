#include "aggregator/rules/rule.h"

#include <numeric>

namespace fedgraft {

absl::StatusOr<std::vector<size_t>> RobustRule::Select(
    const DistanceMatrix& distances) const {
  std::vector<size_t> all(distances.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return all;
}

}  // namespace fedgraft
