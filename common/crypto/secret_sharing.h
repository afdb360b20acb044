#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// Shamir's secret sharing (CACM 22, 1979), each two bytes (little-endian) a
// secret of their own over GF(2^16) with the polynomial
// x^16 + x^12 + x^3 + x + 1. No branch and no memory address depends on a
// secret or a share; indices are public.

namespace fedgraft {

// An index has 16 bits and is not 0, where the secret lies.
inline constexpr int kSharesMax = 65535;

struct SecretShare {
  uint16_t index = 0;  // 1 to kSharesMax
  SecretBytes value;   // as long as the secret
};

// The shares of indices 1 to `count`; any `threshold` of them give the secret,
// fewer give nothing. `coefficients`: (threshold - 1) times the secret's length
// of uniform secret bytes that are used for nothing else.
// INVALID_ARGUMENT: a secret of no or an odd number of bytes, not 1 <=
// threshold
// <= count <= kSharesMax, or coefficients of another length.
absl::StatusOr<std::vector<SecretShare>> SplitSecret(ByteSpan secret,
                                                     int threshold, int count,
                                                     ByteSpan coefficients);

// Gives the secrets of which the same sites hold shares: what depends on their
// indices alone is computed once. Immutable and thread-safe.
class ShareCombiner {
 public:
  // INVALID_ARGUMENT: none, or an index of 0 or twice.
  static absl::StatusOr<ShareCombiner> Create(
      absl::Span<const uint16_t> indices);

  // `shares`: in the order of the indices. The secret, if they are at least as
  // many as the threshold was; with fewer or with a false one the result is
  // another value, which nothing here can tell.
  // INVALID_ARGUMENT: not one for each index, or of different or odd lengths.
  absl::StatusOr<SecretBytes> Combine(absl::Span<const ByteSpan> shares) const;

 private:
  explicit ShareCombiner(std::vector<uint16_t> weights)
      : weights_(std::move(weights)) {}
  std::vector<uint16_t> weights_;
};

}  // namespace fedgraft
