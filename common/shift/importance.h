#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/transfer/matrix_view.h"

// Weights that make a source sample look like a target, from one mean of kernel
// values over the target: covariate shift without a target record.

namespace fedgraft {

// Kernel values exp(-|x - c|^2 / 2 bandwidth^2), [n, b]; what a target averages
// over its records. INVALID_ARGUMENT: sizes that differ, not finite, bandwidth
// not above 0.
absl::StatusOr<std::vector<double>> KernelValues(const MatrixView& records,
                                                 const MatrixView& centers,
                                                 double bandwidth);

struct ImportanceWeights {
  std::vector<double> coefficients;  // [b], not negative
  std::vector<double> weights;       // [n], of the source's records, mean 1
  // (sum w)^2 / sum w^2: how many equally weighted records they are worth.
  double effective_size = 0;
};

// Unconstrained least-squares importance fitting, coefficients cut at 0
// (Kanamori, Hido and Sugiyama 2009): (H + lambda I)^-1 h with H the source's
// mean of outer products of kernel values and h `target_mean` [b].
// `source_kernel` [n, b] by KernelValues. Weights are raised to `flattening`
// (0: none, 1: full), cut at kWeightMax and scaled to mean 1.
// FAILED_PRECONDITION: an effective size below kEffectiveShareMin of n, where
// training would rest on a few records.
inline constexpr double kWeightMax = 20;
inline constexpr double kEffectiveShareMin = 0.1;
absl::StatusOr<ImportanceWeights> FitImportance(
    const MatrixView& source_kernel, absl::Span<const double> target_mean,
    double lambda, double flattening = 1);

struct RecordImportance {
  std::vector<double> weights;  // [n], mean 1
  // Of the records, (sum w)^2 / (n sum w^2): what the weights leave the worth
  // of.
  double share = 0;
};

// The same from random Fourier features (random_features.h), whose mean over
// the target is `target_mean` [D]; `embedding` [n, D] of the source. They have
// no constant, so the fit has one of its own, without penalty:
//   w(x) = 1 + a . (phi(x) - m),  (C + lambda I) a = target_mean - m
// with m and C mean and covariance of phi over the source. A source that is the
// target has weights of 1, and more penalty moves all weights towards 1.
// Negative weights are cut at 0; else as of NormalizeImportance.
// INVALID_ARGUMENT: sizes, or numbers out of range or not finite.
absl::StatusOr<RecordImportance> FitEmbeddingImportance(
    const MatrixView& embedding, absl::Span<const double> target_mean,
    double lambda, double flattening);

// Raised to `flattening` (above 0 to 1), cut at kWeightMax and scaled to mean
// 1. INVALID_ARGUMENT: a weight that is negative or not finite.
// FAILED_PRECONDITION: all are 0.
absl::StatusOr<RecordImportance> NormalizeImportance(
    std::vector<double> weights, double flattening);

}  // namespace fedgraft
