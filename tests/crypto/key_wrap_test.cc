#include "common/crypto/key_wrap.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/crypto/crypto_test_util.h"

namespace fedgraft {
namespace {

constexpr std::string_view kPassphrase = "correct horse battery";
const Bytes kBinaryKey(32, 0x80);
const Bytes kSecret(32, 0x5a);

TEST(KeyWrapTest, AgreesWithTheFormatComposedInPython) {
  Bytes script;
  for (uint8_t i = 0; i < 28; ++i) script.push_back(i);
  const struct {
    Bytes key_file;
    std::string expected;
  } cases[] = {
      {kBinaryKey,
       "4647573101000102030405060708090a0b0c0d0e0f101112131415161718191a1b5abd5"
       "4d79438c1bc5fd3733ccb5b55e94f178fa017cab96963d042a89cae729096e233bd675e"
       "c1cb635be2e81c5f2eeb"},
      {ToBytes(AsBytes(kPassphrase)),
       "4647573102000102030405060708090a0b0c0d0e0f101112131415161718191a1b2a5a6"
       "228b6d6b26995899674ccf6fdda1638f4854d55667e103ae9c244fcff49c65e3b1c89ba"
       "969d821c26af9e1baa31"},
  };
  for (const auto& test : cases) {
    ScriptedRandom random(script);
    const auto wrapped =
        WrapSecret(test.key_file, "run 1 hpke", kSecret, random);
    ASSERT_TRUE(wrapped.ok());
    EXPECT_EQ(ToHex(*wrapped), test.expected);
  }
}

TEST(KeyWrapTest, UnwrapsWithTheSameKeyFileOnly) {
  const auto wrapped = WrapSecret(AsBytes(kPassphrase), "label", kSecret);
  ASSERT_TRUE(wrapped.ok());
  const std::string with_newline = std::string(kPassphrase) + "\r\n";
  const auto opened = UnwrapSecret(AsBytes(with_newline), "label", *wrapped);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->span(), kSecret);
  EXPECT_EQ(UnwrapSecret(AsBytes("another passphrase"), "label", *wrapped)
                .status()
                .code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(UnwrapSecret(kBinaryKey, "label", *wrapped).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KeyWrapTest, ChangedCutOrRelabelledValueDoesNotUnwrap) {
  const auto wrapped = WrapSecret(kBinaryKey, "label", kSecret);
  ASSERT_TRUE(wrapped.ok());
  ASSERT_TRUE(UnwrapSecret(kBinaryKey, "label", *wrapped).ok());
  EXPECT_EQ(UnwrapSecret(kBinaryKey, "lable", *wrapped).status().code(),
            absl::StatusCode::kDataLoss);
  for (size_t size = 0; size < wrapped->size(); ++size) {
    EXPECT_FALSE(
        UnwrapSecret(kBinaryKey, "label", ByteSpan(*wrapped).subspan(0, size))
            .ok());
  }
  for (size_t at = 0; at < wrapped->size(); ++at) {
    Bytes bad = *wrapped;
    bad[at] ^= 1;
    EXPECT_FALSE(UnwrapSecret(kBinaryKey, "label", bad).ok()) << at;
  }
}

TEST(KeyWrapTest, TypedKeyOf32CharactersIsAPassphrase) {
  const std::string typed(32, 'k');
  const auto wrapped = WrapSecret(AsBytes(typed), "label", kSecret);
  ASSERT_TRUE(wrapped.ok());
  EXPECT_EQ((*wrapped)[4], 2);  // scrypt
}

TEST(KeyWrapTest, RefusesShortPassphrases) {
  for (std::string_view bad : {"", "\n", "1234567\n"}) {
    EXPECT_EQ(WrapSecret(AsBytes(bad), "label", kSecret).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace fedgraft
