#pragma once

#include "absl/status/statusor.h"
#include "common/transfer/feature_moments.h"

// How well frozen features will serve a linear head, without training one:
// scores to rank backbones by on the same records. Higher is better. Each
// follows from sums over records, so that the score of several sites' sum is
// the one of their pooled records.
//
// All: FAILED_PRECONDITION if a record has no label, or fewer than two classes
// have records.

namespace fedgraft {

// Log marginal likelihood a record of Bayesian linear regressions on the
// one-hot labels, mean over the classes that have records. You et al., "LogME:
// Practical Assessment of Pre-trained Models for Transfer Learning", 2021,
// algorithm 1: α = β = 1, then at most 11 steps of MacKay's fixed point, until
// α/β changes by less than 1 %. Features are not centred, as there. Defined
// for any rank of F; a fit without error counts as one with squared error
// 1e-12 of the labels'.
absl::StatusOr<double> LogMe(const FeatureMoments& moments);

struct HScore {
  // tr(Σ⁺ Σ_between), 0 to C - 1. Bao et al., "An Information-Theoretic
  // Approach to Transferability in Task Transfer Learning", 2019. With no more
  // records than features it is C - 1 whatever the labels.
  double plain = 0;
  // (1 - α) tr(Σ_α⁻¹ Σ_between), where Σ_α = (1 - α) Σ + α tr(Σ)/d I and α is
  // Ledoit and Wolf's. Ibrahim, Ponomareva and Mazumder, "Newer is not always
  // better: Rethinking transferability metrics, their peculiarities, stability
  // and performance", 2022.
  double shrunk = 0;
  double shrinkage = 0;  // α, 0 to 1
};

// FAILED_PRECONDITION also if the features do not vary, or if the moments do
// not know the norms that α needs.
absl::StatusOr<HScore> ComputeHScore(const FeatureMoments& moments);
// The plain score alone, which needs no norms.
absl::StatusOr<double> PlainHScore(const FeatureMoments& moments);

// In how many directions the features vary, tr(Σ)² / tr(Σ²): 1 (along a line)
// to d (alike in all), with no more records than features at most n - 1. The
// participation ratio of Gao et al., "A theory of multineuronal
// dimensionality, dynamics and measurement", 2017. Needs no labels and no
// norms. FAILED_PRECONDITION: no records, or features that do not vary.
absl::StatusOr<double> EffectiveDimension(const FeatureMoments& moments);

}  // namespace fedgraft
