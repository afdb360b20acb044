#pragma once

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/secret.h"
#include "common/crypto/x25519.h"
#include "common/secagg/session.h"

namespace fedgraft {

// The two shares that one site gives another.
struct SharePair {
  SecretBytes mask_key;  // kSecureSecretBytes each
  SecretBytes self_seed;
};
inline constexpr size_t kSecureSecretBytes = 32;
inline constexpr size_t kSealedShareBytes = 2 * kSecureSecretBytes + 16;

// Seals a SharePair from one site to another: AES-256-GCM under a key that
// HKDF-SHA256 makes of the two sites' X25519 secret, the session, all keys of
// the session, and sender and receiver. The key seals one message, so the nonce
// is zero. Nothing opens in another session, under another list of keys, or in
// the other direction.
//
// `own`: the share key of the site that calls. INVALID_ARGUMENT: a public key
// of low order, a share of another length. DATA_LOSS: what came does not open.
absl::StatusOr<Bytes> SealShares(const X25519Key& own, ByteSpan to_key,
                                 const SecureTranscript& transcript,
                                 const SiteId& from, const SiteId& to,
                                 const SharePair& shares);
absl::StatusOr<SharePair> OpenShares(const X25519Key& own, ByteSpan from_key,
                                     const SecureTranscript& transcript,
                                     const SiteId& from, const SiteId& to,
                                     ByteSpan sealed);

}  // namespace fedgraft
