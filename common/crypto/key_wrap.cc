#include "common/crypto/key_wrap.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/aead.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/system_random.h"

namespace fedgraft {
namespace {

constexpr std::string_view kMagic = "FGW1";
constexpr size_t kSaltSize = 16;
constexpr size_t kKeySize = 32;
constexpr size_t kHeaderSize = 4 + 1 + kSaltSize;
constexpr size_t kPassphraseBytesMin = 8;
constexpr AeadAlgorithm kAlgorithm = AeadAlgorithm::kAes256Gcm;

enum class Kdf : uint8_t { kHkdf = 1, kScrypt = 2 };

ByteSpan WithoutNewline(ByteSpan text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

// Thirty-two typed characters are a passphrase, not a key: they lack entropy.
// A random key is all printable with probability below 1e-13.
Kdf KindOf(ByteSpan key_file) {
  const bool printable =
      std::all_of(key_file.begin(), key_file.end(), [](uint8_t byte) {
        return (byte >= 0x20 && byte < 0x7f) || byte == '\n' || byte == '\r' ||
               byte == '\t';
      });
  return key_file.size() == kKeySize && !printable ? Kdf::kHkdf : Kdf::kScrypt;
}

absl::StatusOr<SecretBytes> DeriveKey(Kdf kdf, ByteSpan key_file,
                                      ByteSpan salt) {
  if (kdf == Kdf::kHkdf) {
    return HkdfExpand(HkdfExtract(salt, key_file).span(),
                      AsBytes("fedgraft key wrap v1"), kKeySize);
  }
  const ByteSpan passphrase = WithoutNewline(key_file);
  if (passphrase.size() < kPassphraseBytesMin) {
    return absl::InvalidArgumentError(
        absl::StrCat("the passphrase in the key file has ", passphrase.size(),
                     " bytes; expected at least ", kPassphraseBytesMin,
                     ", or a binary key of 32 bytes"));
  }
  constexpr uint64_t kN = 1 << 15, kR = 8, kP = 1, kMemoryMax = 64 << 20;
  SecretBytes key(kKeySize);
  FG_CHECK(EVP_PBE_scrypt(reinterpret_cast<const char*>(passphrase.data()),
                          passphrase.size(), salt.data(), salt.size(), kN, kR,
                          kP, kMemoryMax, key.mutable_span().data(),
                          key.size()) == 1);
  return key;
}

Bytes WrapAad(ByteSpan header, std::string_view label) {
  ByteWriter aad;
  aad.Raw(header).Sized(label);
  return std::move(aad).Take();
}

}  // namespace

absl::StatusOr<Bytes> WrapSecret(ByteSpan key_file, std::string_view label,
                                 ByteSpan secret, RandomSource& random) {
  Bytes salt_and_nonce(kSaltSize + kAeadNonceSize);
  random.Fill(absl::MakeSpan(salt_and_nonce));
  const Kdf kdf = KindOf(key_file);
  ByteWriter prefix;
  prefix.Raw(AsBytes(kMagic)).U8(static_cast<uint8_t>(kdf)).Raw(salt_and_nonce);
  Bytes wrapped = std::move(prefix).Take();
  const ByteSpan salt = ByteSpan(salt_and_nonce).subspan(0, kSaltSize);
  const ByteSpan nonce = ByteSpan(salt_and_nonce).subspan(kSaltSize);
  FG_ASSIGN_OR_RETURN(const SecretBytes key, DeriveKey(kdf, key_file, salt));
  const Bytes aad = WrapAad(ByteSpan(wrapped).subspan(0, kHeaderSize), label);
  const size_t prefix_size = wrapped.size();
  wrapped.resize(prefix_size + secret.size() + kAeadTagSize);
  FG_RETURN_IF_ERROR(AeadSeal(kAlgorithm, key.span(), nonce, aad, secret,
                              absl::MakeSpan(wrapped).subspan(prefix_size)));
  return wrapped;
}

absl::StatusOr<Bytes> WrapSecret(ByteSpan key_file, std::string_view label,
                                 ByteSpan secret) {
  SystemRandom random;
  return WrapSecret(key_file, label, secret, random);
}

absl::StatusOr<SecretBytes> UnwrapSecret(ByteSpan key_file,
                                         std::string_view label,
                                         ByteSpan wrapped) {
  if (wrapped.size() < kMagic.size() ||
      AsText(wrapped.subspan(0, kMagic.size())) != kMagic) {
    return absl::InvalidArgumentError(
        "not a wrapped secret, or one of an unknown version (expected FGW1)");
  }
  if (wrapped.size() < kHeaderSize + kAeadNonceSize + kAeadTagSize) {
    return absl::DataLossError("the wrapped secret is cut off");
  }
  const ByteSpan header = wrapped.subspan(0, kHeaderSize);
  const Kdf kdf = KindOf(key_file);
  if (header[4] != static_cast<uint8_t>(kdf)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the key file holds a ",
                     kdf == Kdf::kHkdf ? "binary key" : "passphrase",
                     " but the secret was wrapped with the other kind"));
  }
  FG_ASSIGN_OR_RETURN(const SecretBytes key,
                      DeriveKey(kdf, key_file, header.subspan(5)));
  const ByteSpan nonce = wrapped.subspan(kHeaderSize, kAeadNonceSize);
  const ByteSpan sealed = wrapped.subspan(kHeaderSize + kAeadNonceSize);
  SecretBytes secret(sealed.size() - kAeadTagSize);
  const absl::Status opened =
      AeadOpen(kAlgorithm, key.span(), nonce, WrapAad(header, label), sealed,
               secret.mutable_span());
  if (!opened.ok()) {
    return absl::DataLossError(
        "the secret does not unwrap: another key file, or changed bytes");
  }
  return secret;
}

}  // namespace fedgraft
