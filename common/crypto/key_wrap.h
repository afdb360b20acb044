#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/secret.h"
#include "common/runtime/random_source.h"

// Keeps a secret at rest under a key file: AES-256-GCM under a key derived from
// the file's content.
//   "FGW1" | u8 kdf | salt (16) | nonce (12) | ciphertext + tag
// kdf 1: a binary key of 32 bytes, HKDF-SHA256. kdf 2: a passphrase, scrypt
// (N = 2^15, r = 8, p = 1; 32 MiB, about 0.1 s). AAD = everything before the
// nonce | u32 length and bytes of the label.

namespace fedgraft {

// `key_file`: 32 bytes that are not all printable are a binary key; anything
// else is a passphrase of at least 8 bytes, without the newline at its end.
// `label` says what is wrapped; a value wrapped under one label does not
// unwrap under another. INVALID_ARGUMENT: a passphrase too short.
absl::StatusOr<Bytes> WrapSecret(ByteSpan key_file, std::string_view label,
                                 ByteSpan secret, RandomSource& random);
// With SystemRandom.
absl::StatusOr<Bytes> WrapSecret(ByteSpan key_file, std::string_view label,
                                 ByteSpan secret);

// DATA_LOSS: another key file or label, a changed or cut value.
// INVALID_ARGUMENT: not a wrapped secret, an unknown version, or the key file
// is of the other kind than the one used to wrap.
absl::StatusOr<SecretBytes> UnwrapSecret(ByteSpan key_file,
                                         std::string_view label,
                                         ByteSpan wrapped);

}  // namespace fedgraft
