#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/numeric/ring_codec.h"
#include "common/solve/solve_point.h"

// A site's answer to a solve point: sums over its records. As ring words they
// are exact, so the sum over sites does not depend on order, and they can be
// masked as any other update.

namespace fedgraft {

// The order of a stage's sums.
class SolveLayout {
 public:
  explicit SolveLayout(const SolvePoint& point)
      : SolveLayout(point.stage, point.classes, point.feature_dim,
                    point.candidates) {}
  SolveLayout(SolveStage stage, int classes, int64_t feature_dim,
              int candidates);

  // Of doubles.
  int64_t count() const { return count_; }
  // Of 64-bit words on the wire: a Hessian's entries lie there in pairs.
  int64_t words() const { return words_; }
  // A part of the sums; absent parts are empty. `begin` counts doubles.
  struct Part {
    int64_t begin = 0, count = 0;
  };
  Part records;          // 1: training records
  Part class_counts;     // [classes]
  Part feature_sums;     // [feature_dim]
  Part feature_squares;  // [feature_dim], with kMoments
  // Packed symmetric. kCross: Z'Z, [feature_dim]. kGram: the sum of
  // w [z 1][z 1]' over records with w = (1 - |p|^2) / (classes - 1), the mean
  // eigenvalue of diag(p) - p p' in contrasts, [feature_dim + 1].
  Part gram;
  Part cross;               // [classes][feature_dim], Z'Y
  Part loss;                // 1: summed, nats (kCross: none)
  Part validation_records;  // 1
  Part validation_losses;   // 1, or one per candidate
  Part gradient;            // [variables], of the summed loss
  Part hessian;             // packed symmetric [variables]

 private:
  Part Next(int64_t count);
  int64_t count_ = 0, words_ = 0;
};

// The ring of solve updates: 64-bit words, scaled here and not by the ring.
// Moments have steps of 2^-34, the Hessian (over point.hessian_scale) 2^-24,
// everything else 2^-38.
RingSpec SolveRing();

// Ring words of one site's sums. INVALID_ARGUMENT: not as many sums as the
// layout has, one that is not finite, or one too large for `max_terms` such
// sums to fit (naming which): a statistic must be exact, so nothing saturates.
absl::StatusOr<std::vector<uint64_t>> PackSolveSums(
    const SolvePoint& point, int max_terms, absl::Span<const double> sums);
// Of the words' sum over at most max_terms sites.
std::vector<double> UnpackSolveSums(const SolvePoint& point,
                                    absl::Span<const uint64_t> words);

}  // namespace fedgraft
