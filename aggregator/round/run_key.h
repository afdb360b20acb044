#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/x25519.h"
#include "common/runtime/random_source.h"

namespace fedgraft {

// The HPKE key pair to which the updates of one run are sealed. Made when the
// run is opened; on disk only wrapped. Immutable; thread-safe.
using RunKey = X25519Key;

// What the journal keeps of a new key.
struct NewRunKey {
  std::shared_ptr<const RunKey> key;
  Bytes wrapped;
  Bytes signature;  // over RunKeyStatement, by the certificate's key
};

// May take 0.1 s if `wrapping_key` is a passphrase. INVALID_ARGUMENT: it is too
// short.
absl::StatusOr<NewRunKey> MakeRunKey(const RunId& run, const Digest& plan_hash,
                                     ByteSpan wrapping_key,
                                     const SigningKey& signing_key,
                                     RandomSource& random);

// PERMISSION_DENIED: the wrapping key does not open `wrapped`, or what it opens
// is not the private half of `public_key`.
absl::StatusOr<std::shared_ptr<const RunKey>> OpenRunKey(const RunId& run,
                                                         ByteSpan wrapping_key,
                                                         ByteSpan wrapped,
                                                         ByteSpan public_key);

}  // namespace fedgraft
