#include "common/crypto/aead.h"

#include <openssl/evp.h>

#include <algorithm>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/openssl_ptr.h"

namespace fedgraft {
namespace {

// Fetched once: an implicit fetch takes a lock and several microseconds.
const EVP_CIPHER* Cipher(AeadAlgorithm algorithm) {
  static EVP_CIPHER* const aes128 =
      EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static EVP_CIPHER* const aes256 =
      EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  static EVP_CIPHER* const chacha =
      EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  switch (algorithm) {
    case AeadAlgorithm::kAes128Gcm:
      return aes128;
    case AeadAlgorithm::kAes256Gcm:
      return aes256;
    case AeadAlgorithm::kChaCha20Poly1305:
      return chacha;
  }
  return nullptr;
}

absl::Status CheckSizes(AeadAlgorithm algorithm, ByteSpan key, ByteSpan nonce,
                        ByteSpan aad, size_t plain_size, size_t out_size,
                        size_t out_expected) {
  if (Cipher(algorithm) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown AEAD algorithm ", static_cast<int>(algorithm)));
  }
  if (key.size() != AeadKeySize(algorithm) || nonce.size() != kAeadNonceSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "AEAD key has ", key.size(), " bytes, nonce ", nonce.size(),
        "; expected ", AeadKeySize(algorithm), " and ", kAeadNonceSize));
  }
  if (out_size != out_expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("AEAD output has room for ", out_size, " bytes; expected ",
                     out_expected));
  }
  if (plain_size > INT32_MAX || aad.size() > INT32_MAX) {
    return absl::InvalidArgumentError("AEAD message of 2 GiB or more");
  }
  return absl::OkStatus();
}

// A context with key, nonce and AAD set. Fails only if OpenSSL is broken.
CipherCtxPtr Begin(AeadAlgorithm algorithm, bool seal, ByteSpan key,
                   ByteSpan nonce, ByteSpan aad) {
  CipherCtxPtr ctx(EVP_CIPHER_CTX_new());
  FG_CHECK(ctx != nullptr);
  FG_CHECK(EVP_CipherInit_ex2(ctx.get(), Cipher(algorithm), key.data(),
                              nonce.data(), seal ? 1 : 0, nullptr) == 1);
  int size = 0;
  if (!aad.empty()) {
    FG_CHECK(EVP_CipherUpdate(ctx.get(), nullptr, &size, aad.data(),
                              static_cast<int>(aad.size())) == 1);
  }
  return ctx;
}

}  // namespace

size_t AeadKeySize(AeadAlgorithm algorithm) {
  return algorithm == AeadAlgorithm::kAes128Gcm ? 16 : 32;
}

bool HasAesInstructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("aes") != 0 &&
         __builtin_cpu_supports("pclmul") != 0;
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
  return false;
#endif
}

absl::Status AeadSeal(AeadAlgorithm algorithm, ByteSpan key, ByteSpan nonce,
                      ByteSpan aad, ByteSpan plaintext,
                      absl::Span<uint8_t> out) {
  FG_RETURN_IF_ERROR(CheckSizes(algorithm, key, nonce, aad, plaintext.size(),
                                out.size(), plaintext.size() + kAeadTagSize));
  const CipherCtxPtr ctx = Begin(algorithm, true, key, nonce, aad);
  int size = 0;
  if (!plaintext.empty()) {
    FG_CHECK(EVP_CipherUpdate(ctx.get(), out.data(), &size, plaintext.data(),
                              static_cast<int>(plaintext.size())) == 1);
    FG_CHECK(static_cast<size_t>(size) == plaintext.size());
  }
  uint8_t* const tag = out.data() + plaintext.size();
  FG_CHECK(EVP_CipherFinal_ex(ctx.get(), tag, &size) == 1 && size == 0);
  FG_CHECK(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, kAeadTagSize,
                               tag) == 1);
  return absl::OkStatus();
}

absl::Status AeadOpen(AeadAlgorithm algorithm, ByteSpan key, ByteSpan nonce,
                      ByteSpan aad, ByteSpan ciphertext,
                      absl::Span<uint8_t> out) {
  if (ciphertext.size() < kAeadTagSize) {
    return absl::DataLossError(absl::StrCat("sealed message has ",
                                            ciphertext.size(),
                                            " bytes: shorter than a tag"));
  }
  const size_t plain_size = ciphertext.size() - kAeadTagSize;
  FG_RETURN_IF_ERROR(CheckSizes(algorithm, key, nonce, aad, plain_size,
                                out.size(), plain_size));
  const CipherCtxPtr ctx = Begin(algorithm, false, key, nonce, aad);
  int size = 0;
  if (plain_size != 0) {
    FG_CHECK(EVP_CipherUpdate(ctx.get(), out.data(), &size, ciphertext.data(),
                              static_cast<int>(plain_size)) == 1);
    FG_CHECK(static_cast<size_t>(size) == plain_size);
  }
  // OpenSSL only reads the tag, in spite of the parameter's type.
  FG_CHECK(EVP_CIPHER_CTX_ctrl(
               ctx.get(), EVP_CTRL_AEAD_SET_TAG, kAeadTagSize,
               const_cast<uint8_t*>(ciphertext.data() + plain_size)) == 1);
  uint8_t rest[kAeadTagSize];
  if (EVP_CipherFinal_ex(ctx.get(), rest, &size) != 1) {
    TakeOpenSslError();
    std::fill(out.begin(), out.end(), uint8_t{0});
    return absl::DataLossError("the authentication tag does not fit");
  }
  FG_CHECK(size == 0);
  return absl::OkStatus();
}

}  // namespace fedgraft
