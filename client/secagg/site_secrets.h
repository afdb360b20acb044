#pragma once

#include <utility>

#include "absl/status/statusor.h"
#include "common/base/secret.h"
#include "common/crypto/x25519.h"
#include "common/secagg/session.h"

namespace fedgraft {

// All secrets of one site in one session, derived from one root, so that a
// site that crashed says again exactly what it said before.
class SiteSecrets {
 public:
  // `root`: kSecureSecretBytes uniform bytes, made for this session alone.
  static absl::StatusOr<SiteSecrets> Derive(const Digest& session,
                                            ByteSpan root);

  const X25519Key& share_key() const { return share_key_; }
  const X25519Key& mask_key() const { return mask_key_; }
  // What other sites get shares of.
  ByteSpan mask_private() const { return mask_private_.span(); }
  ByteSpan self_seed() const { return self_seed_.span(); }

 private:
  SiteSecrets(X25519Key share_key, X25519Key mask_key, SecretBytes mask_private,
              SecretBytes self_seed)
      : share_key_(std::move(share_key)),
        mask_key_(std::move(mask_key)),
        mask_private_(std::move(mask_private)),
        self_seed_(std::move(self_seed)) {}

  X25519Key share_key_;
  X25519Key mask_key_;
  SecretBytes mask_private_;
  SecretBytes self_seed_;
};

}  // namespace fedgraft
