#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"

// Shamir's secret sharing (CACM 22, 1979), each byte a secret of its own over
// GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1. No branch and no memory
// address depends on a secret or a share; indices are public.

namespace fedgraft {

// An index is a byte and not 0, where the secret lies.
inline constexpr int kSharesMax = 255;

struct SecretShare {
  uint8_t index = 0;  // 1 to kSharesMax
  SecretBytes value;  // as long as the secret
};

// The shares of indices 1 to `count`; any `threshold` of them give the secret,
// fewer give nothing. `coefficients`: (threshold - 1) times the secret's length
// of uniform secret bytes that are used for nothing else.
// INVALID_ARGUMENT: an empty secret, not 1 <= threshold <= count <= kSharesMax,
// or coefficients of another length.
absl::StatusOr<std::vector<SecretShare>> SplitSecret(ByteSpan secret,
                                                     int threshold, int count,
                                                     ByteSpan coefficients);

// The secret, if `shares` are at least as many as the threshold was; with fewer
// or with a false one the result is another value, which nothing here can tell.
// INVALID_ARGUMENT: no shares, different lengths, an index of 0 or twice.
absl::StatusOr<SecretBytes> CombineShares(absl::Span<const SecretShare> shares);

}  // namespace fedgraft
