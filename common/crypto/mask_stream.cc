#include "common/crypto/mask_stream.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"

namespace fedgraft {
namespace {

constexpr size_t kBlockBytes = 16;
constexpr char kSalt[] = "fedgraft/secagg/mask/1";

// What is encrypted to get the bare keystream, piece by piece.
constexpr std::array<uint8_t, 16384> kZeros{};

const EVP_CIPHER* Cipher() {
  static EVP_CIPHER* const cipher =
      EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr);
  FG_CHECK(cipher != nullptr);
  return cipher;
}

}  // namespace

absl::StatusOr<MaskStream> MaskStream::Derive(ByteSpan secret,
                                              ByteSpan context) {
  if (secret.empty()) {
    return absl::InvalidArgumentError("a mask of an empty secret");
  }
  FG_ASSIGN_OR_RETURN(SecretBytes key,
                      HkdfExpand(HkdfExtract(AsBytes(kSalt), secret).span(),
                                 context, kKeyBytes));
  return MaskStream(std::move(key));
}

absl::StatusOr<MaskStream> MaskStream::FromKey(ByteSpan key) {
  if (key.size() != kKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a mask key has ", kKeyBytes, " bytes, this one has ", key.size()));
  }
  return MaskStream(SecretBytes(key));
}

MaskStream::Reader::Reader(const MaskStream& stream, uint64_t offset)
    : ctx_(EVP_CIPHER_CTX_new()) {
  FG_CHECK(ctx_ != nullptr);
  std::array<uint8_t, kBlockBytes> counter{};
  uint64_t block = offset / kBlockBytes;
  for (size_t i = kBlockBytes; block > 0; block >>= 8) {
    counter[--i] = static_cast<uint8_t>(block);
  }
  FG_CHECK(EVP_EncryptInit_ex2(ctx_.get(), Cipher(), stream.key_.span().data(),
                               counter.data(), nullptr) == 1);
  std::array<uint8_t, kBlockBytes> skipped;
  Read(absl::MakeSpan(skipped).subspan(0, offset % kBlockBytes));
}

void MaskStream::Reader::Read(absl::Span<uint8_t> out) {
  while (!out.empty()) {
    const size_t size = std::min(out.size(), kZeros.size());
    int written = 0;
    FG_CHECK(EVP_EncryptUpdate(ctx_.get(), out.data(), &written, kZeros.data(),
                               static_cast<int>(size)) == 1);
    FG_CHECK(static_cast<size_t>(written) == size);
    out.remove_prefix(size);
  }
}

}  // namespace fedgraft
