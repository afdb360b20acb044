#pragma once

#include "common/crypto/aead.h"
#include "common/protocol/messages.h"

namespace fedgraft {

inline AeadAlgorithm AlgorithmOf(SealSuite suite) {
  return suite == SealSuite::kChaCha20Poly1305
             ? AeadAlgorithm::kChaCha20Poly1305
             : AeadAlgorithm::kAes256Gcm;
}

// What a site seals with: AES-256-GCM, which every aggregator opens, unless the
// processor lacks instructions for it and the aggregator takes the other.
inline SealSuite ChooseSuite(bool has_aes_instructions,
                             bool takes_chacha20_poly1305) {
  return !has_aes_instructions && takes_chacha20_poly1305
             ? SealSuite::kChaCha20Poly1305
             : SealSuite::kAes256Gcm;
}

}  // namespace fedgraft
