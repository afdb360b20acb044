#include "common/crypto/hkdf.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace fedgraft {

SecretBytes HmacSha256(ByteSpan key, ByteSpan message) {
  // HMAC() takes a null key for "same key as before".
  static constexpr uint8_t kNone = 0;
  FG_CHECK(key.size() <= INT32_MAX);
  SecretBytes mac(kHkdfHashSize);
  unsigned int size = 0;
  FG_CHECK(HMAC(EVP_sha256(), key.empty() ? &kNone : key.data(),
                static_cast<int>(key.size()), message.data(), message.size(),
                mac.mutable_span().data(), &size) != nullptr);
  FG_CHECK(size == kHkdfHashSize);
  return mac;
}

SecretBytes HkdfExtract(ByteSpan salt, ByteSpan input_key) {
  return HmacSha256(salt, input_key);
}

absl::StatusOr<SecretBytes> HkdfExpand(ByteSpan pseudorandom_key, ByteSpan info,
                                       size_t length) {
  if (length == 0 || length > 255 * kHkdfHashSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("HKDF-SHA256 gives 1 to 8160 bytes, not ", length));
  }
  SecretBytes output(length);
  SecretBytes block;  // T(i); T(0) is empty
  uint8_t counter = 1;
  for (size_t done = 0; done < length; ++counter) {
    SecretBytes input(block.size() + info.size() + 1);
    auto at = std::copy(block.span().begin(), block.span().end(),
                        input.mutable_span().begin());
    at = std::copy(info.begin(), info.end(), at);
    *at = counter;
    block = HmacSha256(pseudorandom_key, input.span());
    const size_t take = std::min(kHkdfHashSize, length - done);
    std::copy_n(block.span().begin(), take,
                output.mutable_span().begin() + done);
    done += take;
  }
  return output;
}

}  // namespace fedgraft
