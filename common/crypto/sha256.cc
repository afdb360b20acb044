#include "common/crypto/sha256.h"

#include <openssl/evp.h>

#include <utility>

#include "common/base/check.h"
#include "common/crypto/openssl_ptr.h"

namespace fedgraft {
namespace {

// Fetched once: an implicit fetch costs more than hashing a short message.
const EVP_MD* Sha256Md() {
  static EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  FG_CHECK(md != nullptr);
  return md;
}

}  // namespace

Digest Sha256(ByteSpan data) {
  Digest digest;
  unsigned int size = 0;
  FG_CHECK(EVP_Digest(data.data(), data.size(), digest.bytes.data(), &size,
                      Sha256Md(), nullptr) == 1);
  FG_CHECK(size == digest.bytes.size());
  return digest;
}

struct Sha256Hasher::State {
  MdCtxPtr ctx;
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {
  state_->ctx.reset(EVP_MD_CTX_new());
  FG_CHECK(state_->ctx != nullptr);
  FG_CHECK(EVP_DigestInit_ex2(state_->ctx.get(), Sha256Md(), nullptr) == 1);
}

Sha256Hasher::~Sha256Hasher() = default;
Sha256Hasher::Sha256Hasher(Sha256Hasher&&) noexcept = default;
Sha256Hasher& Sha256Hasher::operator=(Sha256Hasher&&) noexcept = default;

void Sha256Hasher::Update(ByteSpan data) {
  FG_CHECK(state_ != nullptr && state_->ctx != nullptr);
  FG_CHECK(EVP_DigestUpdate(state_->ctx.get(), data.data(), data.size()) == 1);
}

Digest Sha256Hasher::Finish() {
  FG_CHECK(state_ != nullptr && state_->ctx != nullptr);
  const MdCtxPtr ctx = std::move(state_->ctx);
  Digest digest;
  unsigned int size = 0;
  FG_CHECK(EVP_DigestFinal_ex(ctx.get(), digest.bytes.data(), &size) == 1);
  FG_CHECK(size == digest.bytes.size());
  return digest;
}

}  // namespace fedgraft
