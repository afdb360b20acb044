#include "common/crypto/hpke.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/crypto/crypto_test_util.h"

namespace fedgraft {

class HpkeTestPeer {
 public:
  static ByteSpan Key(const HpkeContext& context) {
    return context.key_.span();
  }
  static ByteSpan BaseNonce(const HpkeContext& context) {
    return context.base_nonce_.span();
  }
};

namespace {

nlohmann::json LoadVectors() {
  const char* root = std::getenv("FEDGRAFT_SOURCE_DIR");
  std::ifstream file(std::string(root == nullptr ? "." : root) +
                     "/tests/vectors/hpke_rfc9180.json");
  return nlohmann::json::parse(file, nullptr, false);
}

Bytes Field(const nlohmann::json& object, const char* name) {
  return Hex(object.at(name).get<std::string>());
}

// RFC 9180 appendix A.1.1 and A.2.1; AES-256-GCM has no vector in the RFC, its
// entry was composed in Python.
TEST(HpkeTest, AgreesWithRfc9180InBothDirections) {
  const nlohmann::json vectors = LoadVectors();
  ASSERT_FALSE(vectors.is_discarded()) << "set FEDGRAFT_SOURCE_DIR";
  ASSERT_EQ(vectors.size(), 3u);
  for (const auto& vector : vectors) {
    SCOPED_TRACE(vector.at("suite").get<std::string>());
    const auto& setup = vector.at("setup");
    const auto algorithm =
        static_cast<AeadAlgorithm>(vector.at("aead_id").get<int>());
    ScriptedRandom random(Field(setup, "skEm"));
    const auto sender = HpkeContext::SetUpSender(
        Field(setup, "pkRm"), Field(setup, "info"), algorithm, random);
    ASSERT_TRUE(sender.ok());
    const auto receiver =
        HpkeContext::SetUpReceiver(Field(setup, "enc"), Field(setup, "skRm"),
                                   Field(setup, "info"), algorithm);
    ASSERT_TRUE(receiver.ok());
    EXPECT_EQ(sender->enc, Field(setup, "enc"));
    for (const HpkeContext* context : {&sender->context, &*receiver}) {
      EXPECT_EQ(HpkeTestPeer::Key(*context), Field(setup, "key"));
      EXPECT_EQ(HpkeTestPeer::BaseNonce(*context), Field(setup, "base_nonce"));
    }
    for (const auto& message : vector.at("encryptions")) {
      const uint64_t sequence = message.at("sequence").get<uint64_t>();
      const Bytes aad = Field(message, "aad"), plain = Field(message, "pt");
      Bytes sealed(plain.size() + kAeadTagSize), opened(plain.size());
      ASSERT_TRUE(
          sender->context.Seal(sequence, aad, plain, absl::MakeSpan(sealed))
              .ok());
      EXPECT_EQ(ToHex(sealed), message.at("ct").get<std::string>());
      ASSERT_TRUE(
          receiver->Open(sequence, aad, sealed, absl::MakeSpan(opened)).ok());
      EXPECT_EQ(opened, plain);
    }
  }
}

TEST(HpkeTest, PublicKeysAgreeWithRfc9180) {
  for (const auto& vector : LoadVectors()) {
    const auto pair = HpkeKeyPairFromPrivate(Field(vector.at("setup"), "skRm"));
    ASSERT_TRUE(pair.ok());
    EXPECT_EQ(pair->public_key, Field(vector.at("setup"), "pkRm"));
  }
}

class HpkeOpenTest : public ::testing::Test {
 protected:
  absl::StatusCode OpenWith(ByteSpan enc, ByteSpan private_key,
                            std::string_view info, uint64_t sequence,
                            std::string_view aad) {
    const auto receiver = HpkeContext::SetUpReceiver(
        enc, private_key, AsBytes(info), AeadAlgorithm::kAes256Gcm);
    if (!receiver.ok()) return receiver.status().code();
    Bytes out(sealed_.size() - kAeadTagSize);
    return receiver->Open(sequence, AsBytes(aad), sealed_, absl::MakeSpan(out))
        .code();
  }

  void SetUp() override {
    auto sender = HpkeContext::SetUpSender(pair_.public_key, AsBytes("run 1"),
                                           AeadAlgorithm::kAes256Gcm);
    ASSERT_TRUE(sender.ok());
    enc_ = sender->enc;
    sealed_.resize(6 + kAeadTagSize);
    ASSERT_TRUE(
        sender->context
            .Seal(3, AsBytes("aad"), AsBytes("update"), absl::MakeSpan(sealed_))
            .ok());
  }

  HpkeKeyPair pair_ = GenerateHpkeKeyPair();
  Bytes enc_, sealed_;
};

TEST_F(HpkeOpenTest, OnlyTheSameContextOpens) {
  const ByteSpan own = pair_.private_key.span();
  const HpkeKeyPair other = GenerateHpkeKeyPair();
  EXPECT_EQ(OpenWith(enc_, own, "run 1", 3, "aad"), absl::StatusCode::kOk);
  EXPECT_EQ(OpenWith(enc_, own, "run 2", 3, "aad"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith(enc_, own, "run 1", 4, "aad"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith(enc_, own, "run 1", 3, "abd"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith(enc_, other.private_key.span(), "run 1", 3, "aad"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith(other.public_key, own, "run 1", 3, "aad"),
            absl::StatusCode::kDataLoss);
}

TEST_F(HpkeOpenTest, RefusesBadKeysAtSetUp) {
  const ByteSpan own = pair_.private_key.span();
  EXPECT_EQ(OpenWith(Bytes(32, 0), own, "run 1", 3, "aad"),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenWith(Bytes(31, 1), own, "run 1", 3, "aad"),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(OpenWith(enc_, own.subspan(1), "run 1", 3, "aad"),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(HpkeKeyPairFromPrivate(Bytes(33)).ok());
  EXPECT_FALSE(
      HpkeContext::SetUpSender(Bytes(32, 0), {}, AeadAlgorithm::kAes256Gcm)
          .ok());
  EXPECT_FALSE(HpkeContext::SetUpSender(pair_.public_key, {},
                                        static_cast<AeadAlgorithm>(0xffff))
                   .ok());
}

}  // namespace
}  // namespace fedgraft
