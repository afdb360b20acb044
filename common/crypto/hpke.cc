#include "common/crypto/hpke.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/system_random.h"

namespace fedgraft {
namespace {

constexpr uint8_t kModeBase = 0;
constexpr uint16_t kKemX25519HkdfSha256 = 0x0020;
constexpr uint16_t kKdfHkdfSha256 = 0x0001;

void AppendI2osp2(uint16_t value, Bytes& out) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

void AppendText(std::string_view text, Bytes& out) {
  out.insert(out.end(), text.begin(), text.end());
}

Bytes KemSuiteId() {
  Bytes id;
  AppendText("KEM", id);
  AppendI2osp2(kKemX25519HkdfSha256, id);
  return id;
}

Bytes HpkeSuiteId(AeadAlgorithm algorithm) {
  Bytes id;
  AppendText("HPKE", id);
  AppendI2osp2(kKemX25519HkdfSha256, id);
  AppendI2osp2(kKdfHkdfSha256, id);
  AppendI2osp2(static_cast<uint16_t>(algorithm), id);
  return id;
}

// RFC 9180 §4.
SecretBytes LabeledExtract(ByteSpan suite_id, ByteSpan salt,
                           std::string_view label, ByteSpan input_key) {
  Bytes prefix;
  AppendText("HPKE-v1", prefix);
  prefix.insert(prefix.end(), suite_id.begin(), suite_id.end());
  AppendText(label, prefix);
  SecretBytes labeled(prefix.size() + input_key.size());
  auto at =
      std::copy(prefix.begin(), prefix.end(), labeled.mutable_span().begin());
  std::copy(input_key.begin(), input_key.end(), at);
  return HkdfExtract(salt, labeled.span());
}

SecretBytes LabeledExpand(ByteSpan suite_id, ByteSpan pseudorandom_key,
                          std::string_view label, ByteSpan info,
                          uint16_t length) {
  Bytes labeled;
  AppendI2osp2(length, labeled);
  AppendText("HPKE-v1", labeled);
  labeled.insert(labeled.end(), suite_id.begin(), suite_id.end());
  AppendText(label, labeled);
  labeled.insert(labeled.end(), info.begin(), info.end());
  auto expanded = HkdfExpand(pseudorandom_key, labeled, length);
  FG_CHECK(expanded.ok());
  return *std::move(expanded);
}

// base_nonce XOR the sequence number, big-endian (RFC 9180 §5.2).
std::array<uint8_t, kAeadNonceSize> ChunkNonce(ByteSpan base_nonce,
                                               uint64_t sequence) {
  std::array<uint8_t, kAeadNonceSize> nonce;
  std::copy(base_nonce.begin(), base_nonce.end(), nonce.begin());
  for (int i = 0; i < 8; ++i) {
    nonce[kAeadNonceSize - 1 - i] ^= static_cast<uint8_t>(sequence >> (8 * i));
  }
  return nonce;
}

}  // namespace

HpkeKeyPair GenerateHpkeKeyPair(RandomSource& random) {
  SecretBytes private_key(kX25519KeySize);
  random.Fill(private_key.mutable_span());
  auto pair = HpkeKeyPairFromPrivate(private_key.span());
  FG_CHECK(pair.ok());
  return *std::move(pair);
}

HpkeKeyPair GenerateHpkeKeyPair() {
  SystemRandom random;
  return GenerateHpkeKeyPair(random);
}

absl::StatusOr<HpkeKeyPair> HpkeKeyPairFromPrivate(ByteSpan private_key) {
  FG_ASSIGN_OR_RETURN(Bytes public_key, X25519PublicKey(private_key));
  return HpkeKeyPair{SecretBytes(private_key), std::move(public_key)};
}

HpkeContext::HpkeContext(AeadAlgorithm algorithm, SecretBytes key,
                         SecretBytes base_nonce)
    : algorithm_(algorithm),
      key_(std::move(key)),
      base_nonce_(std::move(base_nonce)) {}

// DHKEM's ExtractAndExpand (RFC 9180 §4.1), then KeySchedule (§5.1) with an
// empty pre-shared key.
absl::StatusOr<HpkeContext> HpkeContext::Derive(ByteSpan shared_point,
                                                ByteSpan enc,
                                                ByteSpan public_key,
                                                ByteSpan info,
                                                AeadAlgorithm algorithm) {
  switch (algorithm) {
    case AeadAlgorithm::kAes128Gcm:
    case AeadAlgorithm::kAes256Gcm:
    case AeadAlgorithm::kChaCha20Poly1305:
      break;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("unknown HPKE AEAD ", static_cast<int>(algorithm)));
  }
  const Bytes kem_suite = KemSuiteId();
  Bytes kem_context = ToBytes(enc);
  kem_context.insert(kem_context.end(), public_key.begin(), public_key.end());
  const SecretBytes eae_prk =
      LabeledExtract(kem_suite, {}, "eae_prk", shared_point);
  const SecretBytes shared_secret = LabeledExpand(
      kem_suite, eae_prk.span(), "shared_secret", kem_context, kHkdfHashSize);

  const Bytes suite = HpkeSuiteId(algorithm);
  const SecretBytes psk_id_hash = LabeledExtract(suite, {}, "psk_id_hash", {});
  const SecretBytes info_hash = LabeledExtract(suite, {}, "info_hash", info);
  Bytes schedule{kModeBase};
  for (ByteSpan part : {psk_id_hash.span(), info_hash.span()}) {
    schedule.insert(schedule.end(), part.begin(), part.end());
  }
  const SecretBytes secret =
      LabeledExtract(suite, shared_secret.span(), "secret", {});
  return HpkeContext(
      algorithm,
      LabeledExpand(suite, secret.span(), "key", schedule,
                    static_cast<uint16_t>(AeadKeySize(algorithm))),
      LabeledExpand(suite, secret.span(), "base_nonce", schedule,
                    kAeadNonceSize));
}

absl::StatusOr<HpkeContext::Sender> HpkeContext::SetUpSender(
    ByteSpan public_key, ByteSpan info, AeadAlgorithm algorithm,
    const X25519Key& ephemeral) {
  FG_ASSIGN_OR_RETURN(const SecretBytes shared,
                      ephemeral.SharedSecret(public_key));
  FG_ASSIGN_OR_RETURN(HpkeContext context,
                      Derive(shared.span(), ephemeral.public_key(), public_key,
                             info, algorithm));
  return Sender{ephemeral.public_key(), std::move(context)};
}

absl::StatusOr<HpkeContext::Sender> HpkeContext::SetUpSender(
    ByteSpan public_key, ByteSpan info, AeadAlgorithm algorithm,
    RandomSource& random) {
  SecretBytes private_key(kX25519KeySize);
  random.Fill(private_key.mutable_span());
  FG_ASSIGN_OR_RETURN(const X25519Key ephemeral,
                      X25519Key::FromPrivate(private_key.span()));
  return SetUpSender(public_key, info, algorithm, ephemeral);
}

absl::StatusOr<HpkeContext::Sender> HpkeContext::SetUpSender(
    ByteSpan public_key, ByteSpan info, AeadAlgorithm algorithm) {
  SystemRandom random;
  return SetUpSender(public_key, info, algorithm, random);
}

absl::StatusOr<HpkeContext> HpkeContext::SetUpReceiver(
    ByteSpan enc, const X25519Key& key, ByteSpan info,
    AeadAlgorithm algorithm) {
  FG_ASSIGN_OR_RETURN(const SecretBytes shared, key.SharedSecret(enc));
  return Derive(shared.span(), enc, key.public_key(), info, algorithm);
}

absl::StatusOr<HpkeContext> HpkeContext::SetUpReceiver(
    ByteSpan enc, ByteSpan private_key, ByteSpan info,
    AeadAlgorithm algorithm) {
  FG_ASSIGN_OR_RETURN(const X25519Key key, X25519Key::FromPrivate(private_key));
  return SetUpReceiver(enc, key, info, algorithm);
}

absl::Status HpkeContext::Seal(uint64_t sequence, ByteSpan aad,
                               ByteSpan plaintext,
                               absl::Span<uint8_t> out) const {
  return AeadSeal(algorithm_, key_.span(),
                  ChunkNonce(base_nonce_.span(), sequence), aad, plaintext,
                  out);
}

absl::Status HpkeContext::Open(uint64_t sequence, ByteSpan aad,
                               ByteSpan ciphertext,
                               absl::Span<uint8_t> out) const {
  return AeadOpen(algorithm_, key_.span(),
                  ChunkNonce(base_nonce_.span(), sequence), aad, ciphertext,
                  out);
}

}  // namespace fedgraft
