#pragma once

#include <string_view>

#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/crypto/hpke.h"

// What the target and the seeds of the sealed stream agree on: a key that
// protects nothing.

namespace fedgraft::fuzz {

inline constexpr std::string_view kSealedInfo = "fuzz info";
inline constexpr std::string_view kSealedContext = "fuzz context";

inline const HpkeKeyPair& SealedStreamPair() {
  static const HpkeKeyPair* const pair = [] {
    auto made = HpkeKeyPairFromPrivate(Bytes(32, 0x42));
    FG_CHECK(made.ok());
    return new HpkeKeyPair(*std::move(made));
  }();
  return *pair;
}
inline const SecretBytes& SealedStreamKey() {
  return SealedStreamPair().private_key;
}

}  // namespace fedgraft::fuzz
