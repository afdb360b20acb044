#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Linear CKA: how alike two representations X [n, p] and Y [n, q] of the same
// n records are, from 1 (equal up to rotation, shift and scale) to 0. It is
// exactly 1 for equal bits. Kornblith et al., "Similarity of Neural Network
// Representations Revisited", 2019.
//
//   CKA = HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)), centred X and Y, with
//   kBiased    HSIC = ‖XᵀY‖²_F (eq. 3 and 4); near 1 whatever X and Y for n of
//              the order of p and q
//   kUnbiased  HSIC₁ of Nguyen, Raghu and Kornblith, "Do Wide and Deep
//              Networks Learn the Same Things?", 2021, eq. 3; may be below 0

namespace fedgraft {

enum class CkaEstimator { kBiased, kUnbiased };

// All functions below: INVALID_ARGUMENT for matrices that are no matrices, not
// finite, or of different numbers of records; FAILED_PRECONDITION for fewer
// records than 2 (kUnbiased: 4), or if a representation is constant.

// O(n² (p + q)), in memory n².
absl::StatusOr<double> LinearCka(const MatrixView& x, const MatrixView& y,
                                 CkaEstimator estimator);

// Unbiased CKA of records that come in batches of at least 4: the mean of the
// batches' HSIC₁, then the ratio. Records of different batches are never
// compared, so the value depends on the batches (Nguyen et al., eq. 4).
class MinibatchCka {
 public:
  absl::Status Add(const MatrixView& x, const MatrixView& y);
  absl::StatusOr<double> Cka() const;

 private:
  double xy_ = 0, xx_ = 0, yy_ = 0;
};

// CKA of records that are in several places, from sums over records; with
// k = ‖x‖² and l = ‖y‖², as flat doubles:
//   n | Σkl | Σk² | Σl² | Σx [p] | Σkx [p] | Σlx [p] | Σy [q] | Σky [q]
//   | Σly [q] | Σxxᵀ packed | Σyyᵀ packed | Σxyᵀ [p, q]
// Both estimators follow from the total, equal to those of the pooled records:
// for centred features 1ᵀK̃ and 1ᵀL̃ of HSIC₁ are the negative diagonals, so
// HSIC₁ needs ‖XᵀY‖², Σk, Σl and Σkl only, and these sums tell what centring
// by the pooled means does to them.
class CkaMoments {
 public:
  static constexpr int64_t kDimMax = 4096;

  // INVALID_ARGUMENT: a dimension outside 1 to kDimMax.
  static absl::StatusOr<CkaMoments> Create(int64_t x_dim, int64_t y_dim);
  // INVALID_ARGUMENT: also wrong length or a sum that is not finite.
  static absl::StatusOr<CkaMoments> FromSums(int64_t x_dim, int64_t y_dim,
                                             std::vector<double> sums);

  absl::Status Add(const MatrixView& x, const MatrixView& y);
  // INVALID_ARGUMENT: other dimensions.
  absl::Status Merge(const CkaMoments& other);
  absl::StatusOr<double> Cka(CkaEstimator estimator) const;

  absl::Span<const double> sums() const { return sums_; }

 private:
  CkaMoments(int64_t x_dim, int64_t y_dim);

  int64_t x_dim_, y_dim_;
  std::vector<double> sums_;
};

}  // namespace fedgraft
