#include "common/crypto/x25519.h"

#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/crypto/openssl_ptr.h"

namespace fedgraft {
namespace {

absl::Status CheckSize(ByteSpan key, const char* which) {
  if (key.size() == kX25519KeySize) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "an X25519 ", which, " key has 32 bytes, this one has ", key.size()));
}

}  // namespace

absl::StatusOr<Bytes> X25519PublicKey(ByteSpan private_key) {
  if (absl::Status status = CheckSize(private_key, "private"); !status.ok()) {
    return status;
  }
  const PkeyPtr key(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_X25519, nullptr, private_key.data(), private_key.size()));
  FG_CHECK(key != nullptr);
  Bytes public_key(kX25519KeySize);
  size_t size = public_key.size();
  FG_CHECK(EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) ==
           1);
  FG_CHECK(size == kX25519KeySize);
  return public_key;
}

absl::StatusOr<SecretBytes> X25519SharedSecret(ByteSpan private_key,
                                               ByteSpan public_key) {
  if (absl::Status status = CheckSize(private_key, "private"); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckSize(public_key, "public"); !status.ok()) {
    return status;
  }
  const PkeyPtr own(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_X25519, nullptr, private_key.data(), private_key.size()));
  const PkeyPtr peer(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_X25519, nullptr, public_key.data(), public_key.size()));
  FG_CHECK(own != nullptr && peer != nullptr);
  const PkeyCtxPtr ctx(EVP_PKEY_CTX_new(own.get(), nullptr));
  FG_CHECK(ctx != nullptr);
  FG_CHECK(EVP_PKEY_derive_init(ctx.get()) == 1);
  SecretBytes secret(kX25519KeySize);
  size_t size = secret.size();
  uint8_t any = 0;
  // OpenSSL itself refuses an all-zero result; the sum below does not rely on
  // that.
  if (EVP_PKEY_derive_set_peer(ctx.get(), peer.get()) == 1 &&
      EVP_PKEY_derive(ctx.get(), secret.mutable_span().data(), &size) == 1 &&
      size == kX25519KeySize) {
    for (uint8_t byte : secret.span()) any |= byte;
  }
  if (any == 0) {
    TakeOpenSslError();
    return absl::InvalidArgumentError(
        "the X25519 public key has low order: no secret can be shared with it");
  }
  return secret;
}

}  // namespace fedgraft
