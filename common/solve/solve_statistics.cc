#include "common/solve/solve_statistics.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

constexpr int kMomentBits = 34;
constexpr int kBits = 38;
constexpr int kHessianBits = 24;

int FractionBits(SolveStage stage) {
  return stage == SolveStage::kMoments ? kMomentBits : kBits;
}

absl::Status TooLarge(int64_t index, double value, double most) {
  return absl::InvalidArgumentError(
      absl::StrCat("solve statistic ", index, " is ", value,
                   "; expected a finite number of at most ", most,
                   ": normalise the features (solver.normalization: pooled)"));
}

// Sign-extended low and high halves of a word whose halves are signed fields:
// the high one lent a borrow to the low one if that is negative.
int64_t LowHalf(uint64_t word) {
  return static_cast<int32_t>(static_cast<uint32_t>(word));
}
int64_t HighHalf(uint64_t word) {
  return static_cast<int32_t>(static_cast<uint32_t>(
      (word - static_cast<uint64_t>(LowHalf(word))) >> 32));
}

}  // namespace

SolveLayout::Part SolveLayout::Next(int64_t count) {
  const Part part{count_, count};
  count_ += count;
  words_ += count;
  return part;
}

SolveLayout::SolveLayout(SolveStage stage, int classes, int64_t feature_dim,
                         int candidates) {
  const int64_t variables = (classes - 1) * (feature_dim + 1);
  records = Next(1);
  switch (stage) {
    case SolveStage::kMoments:
      class_counts = Next(classes);
      feature_sums = Next(feature_dim);
      feature_squares = Next(feature_dim);
      return;
    case SolveStage::kGram:
      gram = Next(PackedCount(feature_dim + 1));
      return;
    case SolveStage::kCross:
      class_counts = Next(classes);
      feature_sums = Next(feature_dim);
      gram = Next(PackedCount(feature_dim));
      cross = Next(classes * feature_dim);
      return;
    case SolveStage::kValidate:
      validation_records = Next(1);
      validation_losses = Next(candidates);
      return;
    case SolveStage::kGradient:
    case SolveStage::kHessian:
      loss = Next(1);
      validation_records = Next(1);
      validation_losses = Next(1);
      gradient = Next(variables);
      if (stage == SolveStage::kHessian) {
        hessian = Next(PackedCount(variables));
        words_ -= hessian.count / 2;
      }
      return;
  }
}

RingSpec SolveRing() { return RingSpec{64, 0}; }

absl::StatusOr<std::vector<uint64_t>> PackSolveSums(
    const SolvePoint& point, int max_terms, absl::Span<const double> sums) {
  const SolveLayout layout(point);
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("solve statistics: expected ", layout.count(),
                     " sums, got ", sums.size()));
  }
  std::vector<uint64_t> words(static_cast<size_t>(layout.words()));
  const int64_t plain = layout.count() - layout.hessian.count;
  const int bits = FractionBits(point.stage);
  const double most = std::ldexp(1.0, 63 - bits) / max_terms / 2;
  for (int64_t i = 0; i < plain; ++i) {
    if (!(std::abs(sums[i]) <= most)) return TooLarge(i, sums[i], most);
    words[i] = static_cast<uint64_t>(
        static_cast<int64_t>(std::nearbyint(std::ldexp(sums[i], bits))));
  }
  const double half_most = std::ldexp(1.0, 31 - kHessianBits) / max_terms / 2;
  for (int64_t k = 0; k < layout.hessian.count; ++k) {
    const double value = sums[plain + k] / point.hessian_scale;
    if (!(std::abs(value) <= half_most)) {
      return TooLarge(plain + k, value, half_most);
    }
    const int64_t grid =
        static_cast<int64_t>(std::nearbyint(std::ldexp(value, kHessianBits)));
    words[plain + k / 2] += static_cast<uint64_t>(grid)
                            << (k % 2 == 0 ? 0 : 32);
  }
  return words;
}

std::vector<double> UnpackSolveSums(const SolvePoint& point,
                                    absl::Span<const uint64_t> words) {
  const SolveLayout layout(point);
  FG_CHECK(static_cast<int64_t>(words.size()) == layout.words());
  std::vector<double> sums(static_cast<size_t>(layout.count()));
  const int64_t plain = layout.count() - layout.hessian.count;
  const int bits = FractionBits(point.stage);
  for (int64_t i = 0; i < plain; ++i) {
    sums[i] =
        std::ldexp(static_cast<double>(static_cast<int64_t>(words[i])), -bits);
  }
  for (int64_t k = 0; k < layout.hessian.count; ++k) {
    const uint64_t word = words[plain + k / 2];
    const int64_t grid = k % 2 == 0 ? LowHalf(word) : HighHalf(word);
    sums[plain + k] = std::ldexp(static_cast<double>(grid), -kHessianBits) *
                      point.hessian_scale;
  }
  return sums;
}

}  // namespace fedgraft
