#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/config/plan.h"
#include "common/numeric/ring_codec.h"

// The plaintext inside a sealed update: a fixed head, then packed ring words.
// The head is chunk 0 of the sealed stream, so words start on a chunk edge.

namespace fedgraft {

struct UpdatePayloadHead {
  static constexpr uint64_t kBytes = 72;
  RingSpec ring;
  uint64_t count = 0;        // words
  // The site's weight as a word of Z_2^64 with kWeightFractionBits: in (0, 1]
  // times 2^32. Values are multiplied by it before quantising, so that the
  // weighted mean is (sum of values) / (sum of weights).
  uint64_t weight_word = 0;
  uint64_t saturated = 0;
  Digest layout;             // of the parameter layout; evaluation: zero
};
inline constexpr int kWeightFractionBits = 32;

Bytes EncodeUpdateHead(const UpdatePayloadHead& head);  // kBytes bytes
// INVALID_ARGUMENT: wrong length, magic, version, word width or fraction.
absl::StatusOr<UpdatePayloadHead> DecodeUpdateHead(ByteSpan bytes);

// What the plan makes of the ring: both sides compute the same.
// Largest number of contributions in one sum, for headroom.
int MaxTerms(const Plan& plan);
absl::StatusOr<RingSpec> TrainRing(const Plan& plan);
RingSpec EvaluationRing();
// min(samples, cap) / cap, or 1 for uniform weighting.
double SiteWeight(const Plan& plan, uint64_t samples);

}  // namespace fedgraft
