#include "common/crypto/secret_sharing.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr size_t kLane = sizeof(uint64_t);

// Eight bytes times x at once.
uint64_t TimesX(uint64_t bytes) {
  const uint64_t high = bytes & 0x8080808080808080u;
  return ((bytes ^ high) << 1) ^ ((high >> 7) * 0x1b);
}

// Eight secret bytes times one public byte.
uint64_t Times(uint64_t bytes, uint8_t factor) {
  uint64_t product = 0;
  for (int bit = 0; bit < 8; ++bit, bytes = TimesX(bytes)) {
    product ^= bytes & (0 - (uint64_t{factor} >> bit & 1));
  }
  return product;
}

uint8_t TimesByte(uint8_t a, uint8_t b) {
  return static_cast<uint8_t>(Times(a, b));
}

// a^254, the inverse of a public byte that is not 0.
uint8_t Inverse(uint8_t a) {
  uint8_t power = 1;
  for (int bit = 7; bit >= 0; --bit) {
    power = TimesByte(power, power);
    if (254 >> bit & 1) power = TimesByte(power, a);
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

// The weight of share i in the value at 0 (Lagrange).
uint8_t WeightAtZero(absl::Span<const SecretShare> shares, size_t i) {
  uint8_t above = 1, below = 1;
  for (size_t j = 0; j < shares.size(); ++j) {
    if (j == i) continue;
    above = TimesByte(above, shares[j].index);
    below = TimesByte(below,
                      static_cast<uint8_t>(shares[j].index ^ shares[i].index));
  }
  return TimesByte(above, Inverse(below));
}

absl::Status CheckShares(absl::Span<const SecretShare> shares) {
  if (shares.empty()) return absl::InvalidArgumentError("no shares");
  std::array<bool, kSharesMax + 1> seen{};
  for (const SecretShare& share : shares) {
    if (share.index == 0 || std::exchange(seen[share.index], true)) {
      return absl::InvalidArgumentError(
          absl::StrCat("share index ", share.index,
                       ": expected different ones of 1 to ", kSharesMax));
    }
    if (share.value.empty() || share.value.size() != shares[0].value.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("share ", share.index, " has ", share.value.size(),
                       " bytes, the first ", shares[0].value.size()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<SecretShare>> SplitSecret(ByteSpan secret,
                                                     int threshold, int count,
                                                     ByteSpan coefficients) {
  if (secret.empty() || threshold < 1 || threshold > count ||
      count > kSharesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot share ", secret.size(), " bytes ", threshold,
                     "-of-", count, ": expected a secret and 1 to ", kSharesMax,
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
  for (int index = 1; index <= count; ++index) {
    SecretShare share{static_cast<uint8_t>(index), SecretBytes(secret.size())};
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

absl::StatusOr<SecretBytes> CombineShares(
    absl::Span<const SecretShare> shares) {
  if (absl::Status status = CheckShares(shares); !status.ok()) return status;
  SecretBytes secret(shares[0].value.size());
  for (size_t i = 0; i < shares.size(); ++i) {
    const uint8_t weight = WeightAtZero(shares, i);
    for (size_t at = 0; at < secret.size(); at += kLane) {
      Store(Load(secret.span(), at) ^
                Times(Load(shares[i].value.span(), at), weight),
            secret.mutable_span(), at);
    }
  }
  return secret;
}

}  // namespace fedgraft
