#pragma once

#include "aggregator/rules/rule.h"

namespace fedgraft {

// Blanchard et al. 2017, "Machine Learning with Adversaries: Byzantine Tolerant
// Gradient Descent": each update's score is the sum of squared distances to its
// n - f - 2 nearest others; the `selected` updates with the lowest scores are
// averaged (1: Krum; more: Multi-Krum). Equal scores: canonical order.
//   next = previous + server_learning_rate · mean(Δ of the selected)
// f updates may be hostile; needs n >= 2f + 3.
class Krum : public RobustRule {
 public:
  // `selected` 0: all but f.
  Krum(absl::string_view name, double server_learning_rate, size_t byzantine,
       size_t selected)
      : name_(name),
        server_learning_rate_(server_learning_rate),
        byzantine_(byzantine),
        selected_(selected) {}
  absl::string_view Name() const override { return name_; }
  bool Selects() const override { return true; }
  absl::StatusOr<std::vector<size_t>> Select(
      const DistanceMatrix& distances) const override;
  // Of the selected updates.
  absl::Status Apply(const ShardUpdates& shard, absl::Span<float> next,
                     absl::Span<uint64_t> kept) const override;

 private:
  absl::string_view name_;
  double server_learning_rate_;
  size_t byzantine_;
  size_t selected_;
};

}  // namespace fedgraft
