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
  uint64_t count = 0;  // words
  // The site's weight as a word of Z_2^64 with kWeightFractionBits: in (0, 1]
  // times 2^32. Values are multiplied by it before quantising, so that the
  // weighted mean is (sum of values) / (sum of weights). From kNewsBit on: 1 if
  // the site has news.
  uint64_t weight_word = 0;
  uint64_t saturated = 0;
  Digest layout;  // of the parameter layout; evaluation: zero
};
inline constexpr int kWeightFractionBits = 32;
// Sums of 2^16 weights stay below.
inline constexpr int kNewsBit = 48;

Bytes EncodeUpdateHead(const UpdatePayloadHead& head);  // kBytes bytes
// INVALID_ARGUMENT: wrong length, magic, version, word width or fraction, more
// than 2^40 words or more saturated ones than words. The weight is left to the
// caller, whose refusal differs.
absl::StatusOr<UpdatePayloadHead> DecodeUpdateHead(ByteSpan bytes);

// What the plan makes of the ring: both sides compute the same.
// Largest number of contributions in one sum, for headroom: twice the expected
// sites, so that late ones fit, as a power of two, at least 16. The coordinator
// takes no more than this into a round.
int MaxTerms(const Plan& plan);
absl::StatusOr<RingSpec> TrainRing(const Plan& plan);
RingSpec EvaluationRing();
// min(samples, cap) / cap, or 1 for uniform weighting.
double SiteWeight(const Plan& plan, uint64_t samples);
// Between a weight in [0, 1] and its word. A site scales its values by
// WeightOfWord(WeightWord(w)), so that both sides mean the same weight.
uint64_t WeightWord(double weight);
double WeightOfWord(uint64_t word);
// What else a weight word, or a sum of them, says: at how many sites anything
// has changed since the newest look at shift (common/shift/look.h).
uint64_t WithNews(uint64_t weight_word);
uint64_t NewsOfWord(uint64_t word);

}  // namespace fedgraft
