#include "common/crypto/secret_sharing.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr size_t kLane = sizeof(uint64_t);
constexpr int kFieldBits = 16;

// Four elements times x at once; x^16 is x^12 + x^3 + x + 1.
uint64_t TimesX(uint64_t elements) {
  const uint64_t high = elements & 0x8000800080008000u;
  return ((elements ^ high) << 1) ^ ((high >> 15) * 0x100b);
}

// Four secret elements times one public element.
uint64_t Times(uint64_t elements, uint16_t factor) {
  uint64_t product = 0;
  for (int bit = 0; bit < kFieldBits; ++bit, elements = TimesX(elements)) {
    product ^= elements & (0 - (uint64_t{factor} >> bit & 1));
  }
  return product;
}

// Of public elements.
uint16_t TimesPublic(uint16_t a, uint16_t b) {
  uint32_t product = 0;
  for (uint32_t factor = b, term = a; factor != 0; factor >>= 1) {
    if (factor & 1) product ^= term;
    term <<= 1;
    if (term >> kFieldBits) term ^= 0x1100b;
  }
  return static_cast<uint16_t>(product);
}

// a^(2^16 - 2), the inverse of a public element that is not 0.
uint16_t Inverse(uint16_t a) {
  uint16_t power = 1, square = a;
  for (int bit = 1; bit < kFieldBits; ++bit) {
    square = TimesPublic(square, square);
    power = TimesPublic(power, square);
  }
  return power;
}

uint64_t Load(ByteSpan bytes, size_t at) {
  uint64_t lane = 0;
  std::memcpy(&lane, bytes.data() + at, std::min(kLane, bytes.size() - at));
  return lane;
}

void Store(uint64_t lane, absl::Span<uint8_t> bytes, size_t at) {
  std::memcpy(bytes.data() + at, &lane, std::min(kLane, bytes.size() - at));
}

bool IsWhole(size_t size) { return size > 0 && size % 2 == 0; }

}  // namespace

absl::StatusOr<std::vector<SecretShare>> SplitSecret(ByteSpan secret,
                                                     int threshold, int count,
                                                     ByteSpan coefficients) {
  if (!IsWhole(secret.size()) || threshold < 1 || threshold > count ||
      count > kSharesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot share ", secret.size(), " bytes ", threshold, "-of-", count,
        ": expected an even number of bytes and 1 to ", kSharesMax,
        " shares, at least as many as the threshold"));
  }
  const size_t degree = static_cast<size_t>(threshold) - 1;
  if (coefficients.size() != degree * secret.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sharing ", secret.size(), " bytes ", threshold, "-of-",
                     count, " takes ", degree * secret.size(),
                     " bytes of coefficients, not ", coefficients.size()));
  }
  std::vector<SecretShare> shares;
  shares.reserve(static_cast<size_t>(count));
  for (int index = 1; index <= count; ++index) {
    SecretShare share{static_cast<uint16_t>(index), SecretBytes(secret.size())};
    for (size_t at = 0; at < secret.size(); at += kLane) {
      // Horner, from the highest coefficient down to the secret.
      uint64_t value = 0;
      for (size_t k = degree; k-- > 0;) {
        value = Times(
            value ^ Load(coefficients.subspan(k * secret.size(), secret.size()),
                         at),
            share.index);
      }
      Store(value ^ Load(secret, at), share.value.mutable_span(), at);
    }
    shares.push_back(std::move(share));
  }
  return shares;
}

absl::StatusOr<ShareCombiner> ShareCombiner::Create(
    absl::Span<const uint16_t> indices) {
  if (indices.empty()) return absl::InvalidArgumentError("no shares");
  std::vector<uint16_t> sorted(indices.begin(), indices.end());
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front() == 0 ||
      std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "share indices: expected different ones of 1 to ", kSharesMax));
  }
  // The weight of each share in the value at 0 (Lagrange).
  std::vector<uint16_t> weights;
  for (const uint16_t own : indices) {
    uint16_t above = 1, below = 1;
    for (const uint16_t other : indices) {
      if (other == own) continue;
      above = TimesPublic(above, other);
      below = TimesPublic(below, other ^ own);
    }
    weights.push_back(TimesPublic(above, Inverse(below)));
  }
  return ShareCombiner(std::move(weights));
}

absl::StatusOr<SecretBytes> ShareCombiner::Combine(
    absl::Span<const ByteSpan> shares) const {
  if (shares.size() != weights_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected ", weights_.size(), " shares, got ", shares.size()));
  }
  SecretBytes secret(shares[0].size());
  for (size_t i = 0; i < shares.size(); ++i) {
    if (!IsWhole(shares[i].size()) || shares[i].size() != secret.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "share ", i, " has ", shares[i].size(),
          " bytes; expected an even number, as the first's ", secret.size()));
    }
    for (size_t at = 0; at < secret.size(); at += kLane) {
      Store(Load(secret.span(), at) ^ Times(Load(shares[i], at), weights_[i]),
            secret.mutable_span(), at);
    }
  }
  return secret;
}

}  // namespace fedgraft
