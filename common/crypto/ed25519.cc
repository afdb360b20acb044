#include "common/crypto/ed25519.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/crypto/openssl_ptr.h"
#include "common/crypto/system_random.h"

namespace fedgraft {
namespace {

constexpr size_t kKeySize = 32;
constexpr size_t kSignatureSize = 64;
constexpr size_t kPemSizeMax = 64 << 10;

// Without it OpenSSL would ask for a passphrase on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

struct SigningKey::State {
  PkeyPtr key;
};

SigningKey::SigningKey(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::Generate() {
  SecretBytes seed(kKeySize);
  SystemRandom().Fill(seed.mutable_span());
  return *FromSeed(seed.span());
}

absl::StatusOr<SigningKey> SigningKey::FromSeed(ByteSpan seed) {
  if (seed.size() != kKeySize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an Ed25519 seed has 32 bytes, this one has ", seed.size()));
  }
  auto state = std::make_unique<State>();
  state->key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                                seed.data(), seed.size()));
  FG_CHECK(state->key != nullptr);
  return SigningKey(std::move(state));
}

absl::StatusOr<SigningKey> SigningKey::FromPem(std::string_view pem) {
  if (pem.empty() || pem.size() > kPemSizeMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a private key in PEM has 1 to ", kPemSizeMax,
                     " bytes, this file has ", pem.size()));
  }
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  FG_CHECK(bio != nullptr);
  auto state = std::make_unique<State>();
  state->key.reset(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  if (state->key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("not an unencrypted private key in PEM (PKCS#8): ",
                     TakeOpenSslError()));
  }
  if (EVP_PKEY_get_id(state->key.get()) != EVP_PKEY_ED25519) {
    const char* type = EVP_PKEY_get0_type_name(state->key.get());
    return absl::InvalidArgumentError(
        absl::StrCat("expected an Ed25519 private key, this one is ",
                     type == nullptr ? "of another type" : type));
  }
  return SigningKey(std::move(state));
}

Bytes SigningKey::Sign(ByteSpan message) const {
  const MdCtxPtr ctx(EVP_MD_CTX_new());
  FG_CHECK(ctx != nullptr);
  FG_CHECK(EVP_DigestSignInit(ctx.get(), nullptr, nullptr, nullptr,
                              state_->key.get()) == 1);
  Bytes signature(kSignatureSize);
  size_t size = signature.size();
  FG_CHECK(EVP_DigestSign(ctx.get(), signature.data(), &size, message.data(),
                          message.size()) == 1);
  FG_CHECK(size == kSignatureSize);
  return signature;
}

Bytes SigningKey::PublicKey() const {
  Bytes key(kKeySize);
  size_t size = key.size();
  FG_CHECK(EVP_PKEY_get_raw_public_key(state_->key.get(), key.data(), &size) ==
           1);
  FG_CHECK(size == kKeySize);
  return key;
}

SecretBytes SigningKey::ToPem() const {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  FG_CHECK(bio != nullptr);
  FG_CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), state_->key.get(), nullptr,
                                         nullptr, 0, nullptr, nullptr) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  FG_CHECK(data != nullptr && size > 0);
  return SecretBytes(
      AsBytes(std::string_view(data, static_cast<size_t>(size))));
}

absl::Status VerifySignature(ByteSpan public_key, ByteSpan message,
                             ByteSpan signature) {
  if (public_key.size() != kKeySize || signature.size() != kSignatureSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an Ed25519 public key has 32 bytes and a signature 64; these have ",
        public_key.size(), " and ", signature.size()));
  }
  const PkeyPtr key(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_ED25519, nullptr, public_key.data(), public_key.size()));
  const MdCtxPtr ctx(EVP_MD_CTX_new());
  FG_CHECK(key != nullptr && ctx != nullptr);
  FG_CHECK(EVP_DigestVerifyInit(ctx.get(), nullptr, nullptr, nullptr,
                                key.get()) == 1);
  if (EVP_DigestVerify(ctx.get(), signature.data(), signature.size(),
                       message.data(), message.size()) != 1) {
    TakeOpenSslError();
    return absl::PermissionDeniedError(
        "the Ed25519 signature is not this key's over this message");
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
