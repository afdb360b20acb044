#include "common/secagg/share_box.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/aead.h"
#include "common/crypto/hkdf.h"

namespace fedgraft {
namespace {

static_assert(kSealedShareBytes == 2 * kSecureSecretBytes + kAeadTagSize);

constexpr AeadAlgorithm kAead = AeadAlgorithm::kAes256Gcm;
constexpr uint8_t kNonce[kAeadNonceSize] = {};

Bytes Context(const SecureTranscript& transcript, const SiteId& from,
              const SiteId& to) {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/share/1")
      .Raw(transcript.session.bytes)
      .Raw(transcript.keys.bytes)
      .Sized(from.value)
      .Sized(to.value);
  return std::move(writer).Take();
}

absl::StatusOr<SecretBytes> KeyOf(const X25519Key& own, ByteSpan other,
                                  ByteSpan context) {
  FG_ASSIGN_OR_RETURN(const SecretBytes agreed, own.SharedSecret(other));
  return HkdfExpand(HkdfExtract({}, agreed.span()).span(), context,
                    AeadKeySize(kAead));
}

}  // namespace

absl::StatusOr<Bytes> SealShares(const X25519Key& own, ByteSpan to_key,
                                 const SecureTranscript& transcript,
                                 const SiteId& from, const SiteId& to,
                                 const SharePair& shares) {
  if (shares.mask_key.size() != kSecureSecretBytes ||
      shares.self_seed.size() != kSecureSecretBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "shares of ", shares.mask_key.size(), " and ", shares.self_seed.size(),
        " bytes; expected ", kSecureSecretBytes));
  }
  const Bytes context = Context(transcript, from, to);
  FG_ASSIGN_OR_RETURN(const SecretBytes key, KeyOf(own, to_key, context));
  SecretBytes plain(2 * kSecureSecretBytes);
  std::copy_n(shares.mask_key.span().begin(), kSecureSecretBytes,
              plain.mutable_span().begin());
  std::copy_n(shares.self_seed.span().begin(), kSecureSecretBytes,
              plain.mutable_span().begin() + kSecureSecretBytes);
  Bytes sealed(kSealedShareBytes);
  FG_RETURN_IF_ERROR(AeadSeal(kAead, key.span(), kNonce, context, plain.span(),
                              absl::MakeSpan(sealed)));
  return sealed;
}

absl::StatusOr<SharePair> OpenShares(const X25519Key& own, ByteSpan from_key,
                                     const SecureTranscript& transcript,
                                     const SiteId& from, const SiteId& to,
                                     ByteSpan sealed) {
  if (sealed.size() != kSealedShareBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("sealed shares of ", from.value, ": expected ",
                     kSealedShareBytes, " bytes, got ", sealed.size()));
  }
  const Bytes context = Context(transcript, from, to);
  FG_ASSIGN_OR_RETURN(const SecretBytes key, KeyOf(own, from_key, context));
  SecretBytes plain(2 * kSecureSecretBytes);
  const absl::Status opened = AeadOpen(kAead, key.span(), kNonce, context,
                                       sealed, plain.mutable_span());
  if (!opened.ok()) {
    return absl::DataLossError(
        absl::StrCat("the shares that ", from.value, " sealed for ", to.value,
                     " do not open in this session: ", opened.message()));
  }
  return SharePair{SecretBytes(plain.span().subspan(0, kSecureSecretBytes)),
                   SecretBytes(plain.span().subspan(kSecureSecretBytes))};
}

}  // namespace fedgraft
