#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/crypto/aead.h"
#include "common/crypto/ed25519.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/sha256.h"
#include "common/crypto/system_random.h"
#include "common/crypto/x25519.h"
#include "gtest/gtest.h"
#include "tests/crypto/crypto_test_util.h"

namespace fedgraft {
namespace {

TEST(Sha256Test, AgreesWithFips180Examples) {
  EXPECT_EQ(Sha256({}).Hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256(AsBytes("abc")).Hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, HashingInPiecesAgreesWithOneGo) {
  const Bytes million(1000000, 'a');
  Sha256Hasher hasher;
  for (size_t at = 0; at < million.size(); at += 999) {
    hasher.Update(ByteSpan(million).subspan(at, 999));
  }
  Sha256Hasher moved = std::move(hasher);
  EXPECT_EQ(moved.Finish().Hex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256DeathTest, FinishTwiceIsABug) {
  Sha256Hasher hasher;
  hasher.Finish();
  EXPECT_DEATH(hasher.Finish(), "FG_CHECK failed");
}

TEST(HkdfTest, AgreesWithRfc5869) {
  Bytes ikm2, salt2, info2;
  for (int i = 0; i < 0x50; ++i) {
    ikm2.push_back(static_cast<uint8_t>(i));
    salt2.push_back(static_cast<uint8_t>(0x60 + i));
    info2.push_back(static_cast<uint8_t>(0xb0 + i));
  }
  const struct {
    Bytes ikm, salt, info;
    std::string okm;
  } cases[] = {
      {Bytes(22, 0x0b), Hex("000102030405060708090a0b0c"),
       Hex("f0f1f2f3f4f5f6f7f8f9"),
       "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007"
       "208d5b887185865"},
      {ikm2, salt2, info2,
       "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a"
       "99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec"
       "3e87c14c01d5c1f3434f1d87"},
      {Bytes(22, 0x0b),
       {},
       {},
       "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201"
       "395faa4b61a96c8"},
  };
  for (const auto& test : cases) {
    const SecretBytes prk = HkdfExtract(test.salt, test.ikm);
    const auto okm = HkdfExpand(prk.span(), test.info, test.okm.size() / 2);
    ASSERT_TRUE(okm.ok());
    EXPECT_EQ(ToHex(okm->span()), test.okm);
  }
}

TEST(HkdfTest, RefusesLengthsThatItCannotGive) {
  const Bytes prk(32, 1);
  EXPECT_TRUE(HkdfExpand(prk, {}, 8160).ok());
  for (size_t length : {size_t{0}, size_t{8161}}) {
    EXPECT_EQ(HkdfExpand(prk, {}, length).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(X25519Test, AgreesWithRfc7748) {
  const auto shared = X25519SharedSecret(
      Hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
      Hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"));
  ASSERT_TRUE(shared.ok());
  EXPECT_EQ(ToHex(shared->span()),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

TEST(X25519Test, IteratesAsInRfc7748) {
  Bytes k(32, 0);
  k[0] = 9;
  Bytes u = k;
  for (int i = 1; i <= 1000; ++i) {
    const auto shared = X25519SharedSecret(k, u);
    ASSERT_TRUE(shared.ok());
    u = std::exchange(k, ToBytes(shared->span()));
    if (i == 1) {
      EXPECT_EQ(
          ToHex(k),
          "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  EXPECT_EQ(ToHex(k),
            "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST(X25519Test, RefusesLowOrderPublicKeysAndWrongLengths) {
  const Bytes key(32, 7);
  const std::vector<Bytes> bad = {
      Bytes(32, 0),  // order 1
      Hex("0100000000000000000000000000000000000000000000000000000000000000"),
      Hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
      Hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
      Hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
      Bytes(31, 9),
      Bytes(33, 9),
      {},
  };
  for (const Bytes& public_key : bad) {
    EXPECT_EQ(X25519SharedSecret(key, public_key).status().code(),
              absl::StatusCode::kInvalidArgument)
        << ToHex(public_key);
  }
  EXPECT_FALSE(X25519SharedSecret(Bytes(31, 7), Bytes(32, 9)).ok());
  EXPECT_FALSE(X25519PublicKey(Bytes(31, 7)).ok());
}

TEST(Ed25519Test, AgreesWithRfc8032) {
  const struct {
    std::string seed, public_key, message, signature;
  } cases[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821"
       "590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e"
       "43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
       "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b5"
       "38d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
  };
  for (const auto& test : cases) {
    const auto key = SigningKey::FromSeed(Hex(test.seed));
    ASSERT_TRUE(key.ok());
    EXPECT_EQ(ToHex(key->PublicKey()), test.public_key);
    EXPECT_EQ(ToHex(key->Sign(Hex(test.message))), test.signature);
    EXPECT_TRUE(VerifySignature(Hex(test.public_key), Hex(test.message),
                                Hex(test.signature))
                    .ok());
  }
}

TEST(Ed25519Test, RefusesForgedSignatures) {
  const SigningKey key = SigningKey::Generate();
  const SigningKey other = SigningKey::Generate();
  const Bytes message = ToBytes(AsBytes("upload 17"));
  const Bytes good = key.Sign(message);
  for (size_t bit : {0, 255, 256, 511}) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_EQ(VerifySignature(key.PublicKey(), message, bad).code(),
              absl::StatusCode::kPermissionDenied);
  }
  EXPECT_EQ(VerifySignature(other.PublicKey(), message, good).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(VerifySignature(key.PublicKey(), AsBytes("upload 18"), good).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(VerifySignature(key.PublicKey(), message, Bytes(63)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(VerifySignature(Bytes(31), message, good).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Ed25519Test, RefusesSignatureWithScalarAboveTheOrder) {
  // RFC 8032 test 1 with S + L: accepted by verifiers that do not reduce.
  const Bytes public_key =
      Hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const Bytes signature =
      Hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
          "4c8c7872aa064e049dbb3013fbf29380d25bf5f0595bbe24655141438e7a101b");
  EXPECT_FALSE(VerifySignature(public_key, {}, signature).ok());
}

TEST(Ed25519Test, PemRoundTripKeepsTheKey) {
  const SigningKey key = SigningKey::Generate();
  const SecretBytes pem = key.ToPem();
  EXPECT_EQ(AsText(pem.span()).substr(0, 27), "-----BEGIN PRIVATE KEY-----");
  const auto again = SigningKey::FromPem(AsText(pem.span()));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->PublicKey(), key.PublicKey());
}

TEST(Ed25519Test, FromPemNamesWhatItGot) {
  constexpr std::string_view kP256 =
      "-----BEGIN PRIVATE KEY-----\n"
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
      "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
      "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
      "-----END PRIVATE KEY-----\n";
  const auto wrong_type = SigningKey::FromPem(kP256);
  EXPECT_EQ(wrong_type.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(wrong_type.status().message().find("expected an Ed25519"),
            absl::string_view::npos)
      << wrong_type.status();
  for (std::string_view bad :
       {"", "not a key", "-----BEGIN PRIVATE KEY-----"}) {
    EXPECT_EQ(SigningKey::FromPem(bad).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(SigningKey::FromPem(std::string_view()).ok());
  EXPECT_FALSE(SigningKey::FromPem(std::string(1 << 17, '-')).ok());
  EXPECT_FALSE(SigningKey::FromSeed(Bytes(33)).ok());
}

struct AeadCase {
  AeadAlgorithm algorithm;
  std::string key, nonce, aad, plaintext, sealed;
};

// McGrew and Viega's GCM test cases 13, 14, 16 and 4; RFC 8439 §2.8.2.
std::vector<AeadCase> AeadCases() {
  const std::string zero(64, '0'), key = "feffe9928665731c6d6a8f9467308308";
  const std::string plaintext =
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95"
      "956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
  const std::string aad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
  return {
      {AeadAlgorithm::kAes256Gcm, zero, zero.substr(0, 24), "", "",
       "530f8afbc74536b9a963b4f1c4cb738b"},
      {AeadAlgorithm::kAes256Gcm, zero, zero.substr(0, 24), "",
       zero.substr(0, 32),
       "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
      {AeadAlgorithm::kAes256Gcm, key + key, "cafebabefacedbaddecaf888", aad,
       plaintext,
       "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e4"
       "8590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf88"
       "53bb2d551b"},
      {AeadAlgorithm::kAes128Gcm, key, "cafebabefacedbaddecaf888", aad,
       plaintext,
       "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b"
       "25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae9"
       "5ae7121a47"},
      {AeadAlgorithm::kChaCha20Poly1305,
       "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
       "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
       ToHex(AsBytes("Ladies and Gentlemen of the class of '99: If I could "
                     "offer you only one tip for the future, sunscreen would "
                     "be it.")),
       "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45"
       "e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b"
       "8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d"
       "26586cec64b61161ae10b594f09e26a7e902ecbd0600691"},
  };
}

TEST(AeadTest, AgreesWithPublishedVectors) {
  for (const AeadCase& test : AeadCases()) {
    const Bytes plaintext = Hex(test.plaintext);
    Bytes sealed(plaintext.size() + kAeadTagSize), opened(plaintext.size());
    ASSERT_TRUE(AeadSeal(test.algorithm, Hex(test.key), Hex(test.nonce),
                         Hex(test.aad), plaintext, absl::MakeSpan(sealed))
                    .ok());
    EXPECT_EQ(ToHex(sealed), test.sealed);
    ASSERT_TRUE(AeadOpen(test.algorithm, Hex(test.key), Hex(test.nonce),
                         Hex(test.aad), sealed, absl::MakeSpan(opened))
                    .ok());
    EXPECT_EQ(opened, plaintext);
  }
}

TEST(AeadTest, AnyFlippedBitIsDataLossAndLeavesZeroes) {
  for (const AeadCase& test : AeadCases()) {
    const Bytes sealed = Hex(test.sealed);
    for (size_t bit = 0; bit < sealed.size() * 8; bit += 13) {
      Bytes bad = sealed;
      bad[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
      Bytes out(sealed.size() - kAeadTagSize, 0xee);
      EXPECT_EQ(AeadOpen(test.algorithm, Hex(test.key), Hex(test.nonce),
                         Hex(test.aad), bad, absl::MakeSpan(out))
                    .code(),
                absl::StatusCode::kDataLoss);
      EXPECT_EQ(out, Bytes(out.size(), 0));
    }
  }
}

TEST(AeadTest, RefusesWrongSizes) {
  const Bytes key(32), nonce(12), plaintext(10);
  Bytes out(26);
  const auto seal = [&](size_t key_size, size_t nonce_size, size_t out_size) {
    return AeadSeal(AeadAlgorithm::kAes256Gcm,
                    ByteSpan(key).subspan(0, key_size),
                    ByteSpan(nonce).subspan(0, nonce_size), {}, plaintext,
                    absl::MakeSpan(out).subspan(0, out_size))
        .code();
  };
  EXPECT_EQ(seal(32, 12, 26), absl::StatusCode::kOk);
  EXPECT_EQ(seal(16, 12, 26), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(seal(32, 11, 26), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(seal(32, 12, 25), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      AeadOpen(AeadAlgorithm::kAes256Gcm, key, nonce, {}, Bytes(15), {}).code(),
      absl::StatusCode::kDataLoss);
  EXPECT_EQ(AeadSeal(static_cast<AeadAlgorithm>(9), key, nonce, {}, plaintext,
                     absl::MakeSpan(out))
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SystemRandomTest, FillsAndDoesNotRepeat) {
  SystemRandom random;
  Bytes first(3 << 20), second(32), third(32);
  random.Fill(absl::MakeSpan(first));
  random.Fill(absl::MakeSpan(second));
  random.Fill(absl::MakeSpan(third));
  random.Fill({});
  EXPECT_NE(second, third);
  // 3 MiB of fair bits: 16 standard deviations around half of them.
  int64_t ones = 0;
  for (uint8_t byte : first) ones += __builtin_popcount(byte);
  EXPECT_NEAR(static_cast<double>(ones), 4.0 * first.size(), 16 * 2510);
}

}  // namespace
}  // namespace fedgraft
