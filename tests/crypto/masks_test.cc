#include <algorithm>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "common/crypto/hkdf.h"
#include "common/crypto/mask_stream.h"
#include "common/crypto/secret_sharing.h"
#include "common/crypto/system_random.h"
#include "gtest/gtest.h"
#include "tests/crypto/crypto_test_util.h"

namespace fedgraft {
namespace {

std::vector<SecretShare> Pick(const std::vector<SecretShare>& shares,
                              const std::vector<int>& indices) {
  std::vector<SecretShare> picked;
  for (int index : indices) {
    const SecretShare& share = shares[static_cast<size_t>(index - 1)];
    picked.push_back({share.index, share.value.Clone()});
  }
  return picked;
}

absl::StatusOr<SecretBytes> CombineShares(
    const std::vector<SecretShare>& shares) {
  std::vector<uint16_t> indices;
  std::vector<ByteSpan> values;
  for (const SecretShare& share : shares) {
    indices.push_back(share.index);
    values.push_back(share.value.span());
  }
  const auto combiner = ShareCombiner::Create(indices);
  if (!combiner.ok()) return combiner.status();
  return combiner->Combine(values);
}

std::vector<SecretShare> Known() {
  return *SplitSecret(Hex("000102030405060708090a0b0c0d0e0f"), 3, 5,
                      Hex("101112131415161718191a1b1c1d1e1f"
                          "f0e1d2c3b4a5968778695a4b3c2d1e0f"));
}

TEST(SecretSharingTest, AgreesWithAnIndependentImplementation) {
  const std::vector<SecretShare> shares = Known();
  const char* const expected[] = {
      "e0f1c2d3a4b5869768794a5b2c3d0e1f", "fd94731aea996417d38e5d00c4834a0d",
      "1d64b3ca4a29e487b3fe1d50e4b34a1d", "22ba1eb25aaa66a2d29aee92aa8a9682",
      "c24ade62fa1ae632b2eaaec28aba9692"};
  ASSERT_EQ(shares.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(shares[i].index, i + 1);
    EXPECT_EQ(ToHex(shares[i].value.span()), expected[i]);
  }
  const auto many =
      SplitSecret(Hex("000102030405060708090a0b0c0d0e0f"), 3, 40000,
                  Hex("101112131415161718191a1b1c1d1e1f"
                      "f0e1d2c3b4a5968778695a4b3c2d1e0f"));
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(ToHex(many->back().value.span()),
            "d27b51a3dfda5c02c32940f1ce884d50");
}

TEST(SecretSharingTest, AnyThresholdOfSharesGiveTheSecretAndFewerDoNot) {
  const std::vector<SecretShare> shares = Known();
  const std::string secret = "000102030405060708090a0b0c0d0e0f";
  for (const std::vector<int>& indices :
       {std::vector<int>{1, 2, 3}, {5, 3, 1}, {2, 4, 5}, {1, 2, 3, 4, 5}}) {
    EXPECT_EQ(ToHex(CombineShares(Pick(shares, indices))->span()), secret);
  }
  EXPECT_NE(ToHex(CombineShares(Pick(shares, {1, 2}))->span()), secret);
}

TEST(SecretSharingTest, WorksAtEverySizeUpToTheLargest) {
  SystemRandom random;
  for (const auto& [threshold, count, size] : {std::tuple{1, 1, 2},
                                               {1, 3, 6},
                                               {2, 3, 34},
                                               {171, 255, 32},
                                               {334, 500, 32},
                                               {2, 65535, 10}}) {
    Bytes secret(static_cast<size_t>(size));
    random.Fill(absl::MakeSpan(secret));
    Bytes coefficients(static_cast<size_t>((threshold - 1) * size));
    random.Fill(absl::MakeSpan(coefficients));
    const auto shares = SplitSecret(secret, threshold, count, coefficients);
    ASSERT_TRUE(shares.ok()) << shares.status();
    std::vector<int> last(static_cast<size_t>(threshold));
    std::iota(last.begin(), last.end(), count - threshold + 1);
    EXPECT_EQ(ToBytes(CombineShares(Pick(*shares, last))->span()), secret);
  }
}

// A share of a 2-of-5 sharing takes every value once over all coefficients,
// whatever the secret: it says nothing. Exact, over all 65,536 coefficients of
// one element.
TEST(SecretSharingTest, SharesBelowTheThresholdAreUniform) {
  for (const Bytes& secret : {Bytes{0, 0}, Bytes{0x5a, 0xc3}}) {
    std::vector<int> seen(65536);
    for (int a = 0; a < 65536; ++a) {
      const Bytes coefficients = {static_cast<uint8_t>(a),
                                  static_cast<uint8_t>(a >> 8)};
      const auto shares = SplitSecret(secret, 2, 5, coefficients);
      const ByteSpan share = (*shares)[4].value.span();
      ++seen[static_cast<size_t>(share[0] | share[1] << 8)];
    }
    EXPECT_TRUE(std::all_of(seen.begin(), seen.end(),
                            [](int count) { return count == 1; }));
  }
}

// Two of a 3-of-5 sharing together are the secret plus an invertible map of the
// coefficients: with the secret fixed, either coefficient moves both shares,
// and no coefficients that differ give the same two.
TEST(SecretSharingTest, TwoSharesOfThreeSayNothingTogether) {
  SystemRandom random;
  std::set<Bytes> seen;
  constexpr size_t kTrials = 4096;
  for (size_t i = 0; i < kTrials; ++i) {
    // Different coefficients: the first counts.
    Bytes coefficients = {static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8),
                          0, 0};
    random.Fill(absl::MakeSpan(coefficients).subspan(2));
    const auto shares = SplitSecret(Bytes{7, 9}, 3, 5, coefficients);
    Bytes both = ToBytes((*shares)[1].value.span());
    both.insert(both.end(), (*shares)[4].value.span().begin(),
                (*shares)[4].value.span().end());
    seen.insert(both);
  }
  EXPECT_EQ(seen.size(), kTrials);
}

TEST(SecretSharingTest, RefusesWhatCannotBeSharedOrCombined) {
  const Bytes secret(4, 1);
  EXPECT_FALSE(SplitSecret({}, 1, 2, {}).ok());
  EXPECT_FALSE(SplitSecret(secret, 0, 2, {}).ok());
  EXPECT_FALSE(SplitSecret(secret, 3, 2, Bytes(8)).ok());
  EXPECT_FALSE(SplitSecret(secret, 2, 65536, Bytes(4)).ok());
  EXPECT_FALSE(SplitSecret(Bytes(3), 2, 3, Bytes(3)).ok());  // half an element
  EXPECT_FALSE(SplitSecret(secret, 2, 3, Bytes(5)).ok());
  EXPECT_FALSE(CombineShares({}).ok());
  std::vector<SecretShare> shares = Known();
  shares[1].index = 1;
  EXPECT_FALSE(CombineShares(shares).ok());  // twice
  shares[1].index = 0;
  EXPECT_FALSE(CombineShares(shares).ok());
  shares[1] = {2, SecretBytes(14)};
  EXPECT_FALSE(CombineShares(shares).ok());  // of another length
}

std::string ReadHex(const MaskStream& stream, uint64_t offset, size_t size) {
  Bytes bytes(size);
  MaskStream::Reader(stream, offset).Read(absl::MakeSpan(bytes));
  return ToHex(bytes);
}

// Blocks 0 to 2 under the zero key: H, tag and ciphertext of cases 13 and 14 of
// the GCM specification.
TEST(MaskStreamTest, AgreesWithPublishedBlocks) {
  const auto stream = MaskStream::FromKey(Bytes(32, 0));
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ(ReadHex(*stream, 0, 48),
            "dc95c078a2408989ad48a21492842087"
            "530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e074ec5d3baf39d18");
  EXPECT_FALSE(MaskStream::FromKey(Bytes(31)).ok());
}

TEST(MaskStreamTest, ReadsTheSameFromAnyPlace) {
  const auto stream = MaskStream::Derive(Bytes(32, 7), AsBytes("a"));
  ASSERT_TRUE(stream.ok());
  const std::string all = ReadHex(*stream, 0, 50000);
  for (const size_t offset : {0, 1, 15, 16, 17, 4095, 16384, 49990}) {
    EXPECT_EQ(ReadHex(*stream, offset, 10), all.substr(2 * offset, 20));
  }
  // Beyond 2^32 blocks the counter carries on.
  EXPECT_NE(ReadHex(*stream, uint64_t{1} << 36, 32), all.substr(0, 64));
}

TEST(MaskStreamTest, DependsOnSecretAndContext) {
  const std::string mask =
      ReadHex(*MaskStream::Derive(Bytes(32, 7), AsBytes("a")), 0, 32);
  EXPECT_NE(mask,
            ReadHex(*MaskStream::Derive(Bytes(32, 8), AsBytes("a")), 0, 32));
  EXPECT_NE(mask,
            ReadHex(*MaskStream::Derive(Bytes(32, 7), AsBytes("b")), 0, 32));
  // As written down in mask_stream.h.
  const auto key = HkdfExpand(
      HkdfExtract(AsBytes("fedgraft/secagg/mask/1"), Bytes(32, 7)).span(),
      AsBytes("a"), 32);
  EXPECT_EQ(mask, ReadHex(*MaskStream::FromKey(key->span()), 0, 32));
  EXPECT_FALSE(MaskStream::Derive({}, AsBytes("a")).ok());
}

}  // namespace
}  // namespace fedgraft
