#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// What a site's features f [d] and labels 0..C-1 add up to, as flat doubles:
//   n | n_c [C] | Σ‖f‖⁴ | Σf [d] | Σ‖f‖²f [d] | Σf of class c [C, d]
//   | Σffᵀ, packed [d (d + 1) / 2]
// Records without a label count in everything but n_c and the class sums. With
// one-hot labels y, n_c is Σy_c and Σy_c², and a class sum is Fᵀy_c.
//
// All are sums over records: those of several sites add up to those of their
// pooled records, and the measures of this folder follow from the total alone.

namespace fedgraft {

class FeatureMomentsLayout {
 public:
  static constexpr int64_t kFeatureDimMax = 4096;
  static constexpr int kClassesMax = 1024;

  // INVALID_ARGUMENT: dimension or classes outside 1 to the maximum.
  static absl::StatusOr<FeatureMomentsLayout> Create(int64_t feature_dim,
                                                     int num_classes);

  int64_t feature_dim() const { return dim_; }
  int num_classes() const { return classes_; }
  int64_t Count() const;
  int64_t ClassCountIndex(int c) const { return 1 + c; }
  int64_t FourthPowerIndex() const { return 1 + classes_; }
  // First of d entries each.
  int64_t SumIndex() const { return 2 + classes_; }
  int64_t WeightedSumIndex() const { return SumIndex() + dim_; }
  int64_t ClassSumIndex(int c) const { return SumIndex() + (2 + c) * dim_; }
  // First of the packed Σffᵀ; see product_sums.h.
  int64_t ProductIndex() const { return SumIndex() + (2 + classes_) * dim_; }

 private:
  FeatureMomentsLayout(int64_t dim, int classes)
      : dim_(dim), classes_(classes) {}
  int64_t dim_;
  int classes_;
};

// Invariants: 1. every sum is finite; 2. counts are whole up to rounding, not
// negative, and Σ n_c <= n.
class FeatureMoments {
 public:
  // Of no record.
  explicit FeatureMoments(const FeatureMomentsLayout& layout)
      : layout_(layout), sums_(layout.Count()) {}
  // INVALID_ARGUMENT: wrong length, or one that breaks the invariants.
  static absl::StatusOr<FeatureMoments> FromSums(
      const FeatureMomentsLayout& layout, std::vector<double> sums);

  // Of records whose Σ‖f‖⁴ and Σ‖f‖²f nobody summed; those entries of `sums`
  // are not looked at. What needs them refuses the moments.
  static absl::StatusOr<FeatureMoments> WithoutNorms(
      const FeatureMomentsLayout& layout, std::vector<double> sums);

  // `features` [n, d]; `labels` [n], -1 for none. INVALID_ARGUMENT: wrong
  // length, a value that is not finite, or a label outside the classes; then
  // nothing was added.
  absl::Status Add(const MatrixView& features,
                   absl::Span<const int64_t> labels);

  const FeatureMomentsLayout& layout() const { return layout_; }
  absl::Span<const double> sums() const { return sums_; }
  bool has_norms() const { return has_norms_; }
  double n() const { return sums_[0]; }
  double class_count(int c) const { return sums_[layout_.ClassCountIndex(c)]; }
  absl::Span<const double> Sum() const { return Part(layout_.SumIndex()); }
  absl::Span<const double> WeightedSum() const {
    return Part(layout_.WeightedSumIndex());
  }
  absl::Span<const double> ClassSum(int c) const {
    return Part(layout_.ClassSumIndex(c));
  }
  absl::Span<const double> Products() const {
    return sums().subspan(layout_.ProductIndex());
  }
  double fourth_powers() const { return sums_[layout_.FourthPowerIndex()]; }

  // Σ(f - mean)(f - mean)ᵀ / n, [d, d]. FAILED_PRECONDITION: n = 0.
  absl::StatusOr<std::vector<double>> Covariance() const;

 private:
  absl::Span<const double> Part(int64_t index) const {
    return sums().subspan(index, layout_.feature_dim());
  }
  FeatureMomentsLayout layout_;
  std::vector<double> sums_;
  bool has_norms_ = true;
};

}  // namespace fedgraft
