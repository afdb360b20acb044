#include "common/crypto/x25519.h"

#include <openssl/evp.h>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/openssl_ptr.h"

namespace fedgraft {
namespace {

absl::Status CheckSize(ByteSpan key, const char* which) {
  if (key.size() == kX25519KeySize) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "an X25519 ", which, " key has 32 bytes, this one has ", key.size()));
}

}  // namespace

absl::StatusOr<X25519Key> X25519Key::FromPrivate(ByteSpan private_key) {
  FG_RETURN_IF_ERROR(CheckSize(private_key, "private"));
  PkeyPtr key(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_X25519, nullptr, private_key.data(), private_key.size()));
  FG_CHECK(key != nullptr);
  Bytes public_key(kX25519KeySize);
  size_t size = public_key.size();
  FG_CHECK(EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) ==
           1);
  FG_CHECK(size == kX25519KeySize);
  return X25519Key(std::move(key), std::move(public_key));
}

absl::StatusOr<SecretBytes> X25519Key::SharedSecret(
    ByteSpan peer_public_key) const {
  FG_RETURN_IF_ERROR(CheckSize(peer_public_key, "public"));
  const PkeyPtr peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr,
                                                 peer_public_key.data(),
                                                 peer_public_key.size()));
  FG_CHECK(peer != nullptr);
  const PkeyCtxPtr ctx(EVP_PKEY_CTX_new(key_.get(), nullptr));
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

absl::StatusOr<Bytes> X25519PublicKey(ByteSpan private_key) {
  FG_ASSIGN_OR_RETURN(const X25519Key key, X25519Key::FromPrivate(private_key));
  return key.public_key();
}

absl::StatusOr<SecretBytes> X25519SharedSecret(ByteSpan private_key,
                                               ByteSpan public_key) {
  FG_ASSIGN_OR_RETURN(const X25519Key key, X25519Key::FromPrivate(private_key));
  return key.SharedSecret(public_key);
}

}  // namespace fedgraft
