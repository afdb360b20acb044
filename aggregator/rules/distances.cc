#include "aggregator/rules/distances.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace fedgraft {
namespace {

// Differences stay below 2^41, squares below 2^82: 2^45 of them fit.
constexpr double kLargestSteps = 0x1p40;

std::vector<int64_t> OnGrid(absl::Span<const double> values, double step) {
  std::vector<int64_t> steps(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    // To the nearest, ties to even.
    steps[i] = static_cast<int64_t>(std::nearbyint(
        std::clamp(values[i] / step, -kLargestSteps, kLargestSteps)));
  }
  return steps;
}

}  // namespace

DistanceMatrix::DistanceMatrix(size_t updates, const RingSpec& ring,
                               double largest)
    : updates_(updates), step_(ring.Step()) {
  while (largest / step_ > kLargestSteps) step_ *= 2;
  sums_.resize(updates * (updates - 1) / 2);
}

size_t DistanceMatrix::PairIndex(size_t a, size_t b) const {
  const size_t low = std::min(a, b), high = std::max(a, b);
  return high * (high - 1) / 2 + low;
}

void DistanceMatrix::Add(absl::Span<const absl::Span<const double>> updates) {
  FG_CHECK(updates.size() == updates_);
  std::vector<std::vector<int64_t>> steps;
  for (const absl::Span<const double> update : updates) {
    steps.push_back(OnGrid(update, step_));
  }
  for (size_t b = 1; b < updates_; ++b) {
    for (size_t a = 0; a < b; ++a) {
      Sum sum = 0;
      for (size_t i = 0; i < steps[a].size(); ++i) {
        const int64_t difference = steps[a][i] - steps[b][i];
        sum += static_cast<Sum>(static_cast<__int128>(difference) * difference);
      }
      sums_[PairIndex(a, b)] += sum;
    }
  }
}

void DistanceMatrix::Add(const DistanceMatrix& other) {
  FG_CHECK(other.updates_ == updates_ && other.step_ == step_);
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += other.sums_[i];
}

double DistanceMatrix::Squared(size_t a, size_t b) const {
  if (a == b) return 0;
  return static_cast<double>(sums_[PairIndex(a, b)]) * step_ * step_;
}

}  // namespace fedgraft
