#include "common/base/bytes.h"

#include <type_traits>

#include "common/base/check.h"
#include "common/base/digest.h"
#include "common/base/secret.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(HexTest, WritesLowerCase) {
  EXPECT_EQ(ToHex(Bytes{0x00, 0x0f, 0xa5, 0xff}), "000fa5ff");
  EXPECT_EQ(ToHex({}), "");
}

TEST(HexTest, ReadsBothCases) {
  EXPECT_EQ(*FromHex("000FA5fF"), (Bytes{0x00, 0x0f, 0xa5, 0xff}));
  EXPECT_EQ(*FromHex(""), Bytes{});
}

TEST(HexTest, RefusesAnythingElse) {
  for (const char* text : {"0", "0g", "0x", " 0", "-1", "00 1"}) {
    EXPECT_EQ(FromHex(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(ByteWriterTest, IsLittleEndianWithLengthsBeforeStrings) {
  ByteWriter writer;
  writer.U8(1)
      .U32(0x05040302)
      .U64(0x0d0c0b0a09080706)
      .Sized("ab")
      .Raw(Bytes{0xfe});
  EXPECT_EQ(std::move(writer).Take(),
            (Bytes{1,  2,  3,  4, 5, 6, 7, 8,   9,   10,
                   11, 12, 13, 2, 0, 0, 0, 'a', 'b', 0xfe}));
}

TEST(ByteWriterTest, SizedStringsCannotRunTogether) {
  ByteWriter one, other;
  one.Sized("ab").Sized("c");
  other.Sized("a").Sized("bc");
  EXPECT_NE(one.bytes(), other.bytes());
}

TEST(DigestTest, SurvivesHexAndWire) {
  const std::string hex =
      "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  const Digest digest = *Digest::FromHex(hex);
  EXPECT_EQ(digest.Hex(), hex);
  EXPECT_EQ(digest.Short(), "001122334455");
  EXPECT_EQ(*Digest::FromWire(digest.AsWire()), digest);
}

TEST(DigestTest, RefusesOtherLengthsSayingWhich) {
  const auto wire = Digest::FromWire(std::string(31, 'x'));
  EXPECT_EQ(wire.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(wire.status().message().find("31"), std::string::npos);
  EXPECT_FALSE(Digest::FromHex(std::string(63, 'a')).ok());
  EXPECT_FALSE(Digest::FromHex(std::string(64, 'g')).ok());
}

TEST(SecretBytesTest, MovesAndLeavesNothingBehind) {
  SecretBytes key(Bytes{1, 2, 3});
  SecretBytes moved = std::move(key);
  EXPECT_TRUE(key.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(ToBytes(moved.span()), (Bytes{1, 2, 3}));
  SecretBytes other(Bytes{9});
  other = std::move(moved);
  EXPECT_EQ(ToBytes(other.span()), (Bytes{1, 2, 3}));
}

TEST(SecretBytesTest, IsCopiedOnlyByClone) {
  static_assert(!std::is_copy_constructible_v<SecretBytes>);
  static_assert(!std::is_copy_assignable_v<SecretBytes>);
  SecretBytes key(Bytes{7});
  SecretBytes clone = key.Clone();
  clone.mutable_span()[0] = 8;
  EXPECT_EQ(key.span()[0], 7);
}

TEST(CheckDeathTest, NamesTheCondition) {
  const int sites = 0;
  EXPECT_DEATH(FG_CHECK(sites > 0), "sites > 0");
}

}  // namespace
}  // namespace fedgraft
