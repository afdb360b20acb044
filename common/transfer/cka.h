#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
  // Σ over batches of HSIC₁ of X with Y, X with X and Y with Y. Those of
  // several sites add up to those of all their batches.
  struct Sums {
    double xy = 0, xx = 0, yy = 0;
  };

  absl::Status Add(const MatrixView& x, const MatrixView& y);
  void Merge(const Sums& sums);
  absl::StatusOr<double> Cka() const;
  const Sums& sums() const { return sums_; }

 private:
  Sums sums_;
};

}  // namespace fedgraft
