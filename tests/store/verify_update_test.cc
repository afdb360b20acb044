#include <cmath>
#include <string>
#include <vector>

#include "aggregator/store/reduce.h"
#include "common/protocol/messages.h"
#include "gtest/gtest.h"
#include "tests/store/sealed_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;

void ExpectRefusal(const absl::StatusOr<VerifiedUpdate>& result,
                   RefusalReason reason, std::string_view text) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(RefusalOf(result.status()), reason) << result.status();
  EXPECT_NE(result.status().message().find(std::string(text)),
            std::string::npos)
      << result.status();
}

TEST(VerifySealedUpdateTest, ComputesTheNormOfTheUnweightedValues) {
  SealedFixture fixture(16, 100'000);  // two chunks; step 2^-5
  std::vector<uint64_t> words(fixture.count_, 0);
  words[0] = 3 * 32;                            // 3
  words[70'000] = (0x10000 - 4 * 32) & 0xffff;  // -4
  UpdatePayloadHead head = fixture.Head();
  head.weight_word = WeightWord(0.25);
  const auto verified =
      VerifySealedUpdate(fixture.Seal("a", head, words), fixture.Expectation());
  ASSERT_THAT(verified, IsOk());
  EXPECT_DOUBLE_EQ(verified->l2_norm, 5 / 0.25);
  EXPECT_EQ(verified->head.weight_word, head.weight_word);
}

TEST(VerifySealedUpdateTest, NormIsThatOfTheSignedTermsForEveryWidth) {
  for (const int bits : {8, 12, 16, 20, 24, 32, 64}) {
    SealedFixture fixture(bits, 40'000);
    const int used = bits - 7;
    const auto words = fixture.RandomWords(used);
    long double squares = 0;
    for (const uint64_t word : words) {
      const long double value = Dequantize(fixture.ring_, word);
      squares += value * value;
    }
    const auto verified =
        VerifySealedUpdate(fixture.Seal("a", words), fixture.Expectation());
    ASSERT_THAT(verified, IsOk()) << bits;
    EXPECT_NEAR(verified->l2_norm / static_cast<double>(std::sqrt(squares)), 1,
                1e-12);
  }
}

TEST(VerifySealedUpdateTest, RefusesAnyChangedChunk) {
  SealedFixture fixture(32, 70'000);
  const auto sealed = fixture.Seal("a", fixture.RandomWords(20));
  ASSERT_THAT(VerifySealedUpdate(sealed, fixture.Expectation()), IsOk());
  const Bytes good = fixture.files_.Content("a");
  const SealedStreamShape& shape = sealed.opener->shape();
  ASSERT_EQ(shape.ChunkCount(), 4u);
  for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
    for (const uint64_t offset :
         {shape.SealedOffset(chunk),
          shape.SealedOffset(chunk) + shape.SealedSize(chunk) - 1}) {
      Bytes damaged = good;
      damaged[offset] ^= 0x10;
      fixture.files_.SetContent("a", damaged);
      ExpectRefusal(
          VerifySealedUpdate(fixture.Reopen(sealed), fixture.Expectation()),
          RefusalReason::kBadSeal, "chunk " + std::to_string(chunk));
    }
  }
}

TEST(VerifySealedUpdateTest, RefusesAnotherSitesSeal) {
  SealedFixture fixture(32, 1000);
  const auto a = fixture.Seal("a", fixture.RandomWords(20));
  const auto b = fixture.Seal("b", fixture.RandomWords(20));
  SealedContribution swapped = a;
  swapped.sealed = b.sealed;
  ExpectRefusal(VerifySealedUpdate(swapped, fixture.Expectation()),
                RefusalReason::kBadSeal, "site a");
}

TEST(VerifySealedUpdateTest, RefusesHeadsThatAreNotThePlans) {
  SealedFixture fixture(32, 1000);
  const auto words = fixture.RandomWords(20);
  struct Case {
    const char* text;
    RefusalReason reason;
    std::function<void(UpdatePayloadHead&)> change;
  };
  const std::vector<Case> cases = {
      {"fraction", RefusalReason::kBadLayout,
       [](UpdatePayloadHead& head) { head.ring.fraction_bits = 6; }},
      {"expected 32 bits", RefusalReason::kBadLayout,
       [](UpdatePayloadHead& head) { head.ring.word_bits = 24; }},
      {"expected 1000, got 999", RefusalReason::kBadLayout,
       [](UpdatePayloadHead& head) { head.count = 999; }},
      {"layout: expected", RefusalReason::kBadLayout,
       [](UpdatePayloadHead& head) { head.layout.bytes[0] ^= 1; }},
      {"got 0", RefusalReason::kBadWeight,
       [](UpdatePayloadHead& head) { head.weight_word = 0; }},
      {"at most 1", RefusalReason::kBadWeight,
       [](UpdatePayloadHead& head) { ++head.weight_word; }},
      {"at most 1", RefusalReason::kBadWeight,
       [](UpdatePayloadHead& head) { head.weight_word = ~uint64_t{0}; }},
  };
  for (const Case& one : cases) {
    UpdatePayloadHead head = fixture.Head();
    one.change(head);
    ExpectRefusal(VerifySealedUpdate(fixture.Seal("a", head, words),
                                     fixture.Expectation()),
                  one.reason, one.text);
  }
}

TEST(VerifySealedUpdateTest, RefusesAHeadThatIsNone) {
  SealedFixture fixture(32, 1000);
  UpdatePayloadHead head = fixture.Head();
  head.count = uint64_t{1} << 50;  // more than any payload has
  ExpectRefusal(
      VerifySealedUpdate(fixture.Seal("a", head, fixture.RandomWords(20)),
                         fixture.Expectation()),
      RefusalReason::kBadLayout, "");
}

TEST(VerifySealedUpdateTest, RefusesAnotherNumberOfWords) {
  SealedFixture fixture(32, 1000);
  const auto sealed = fixture.Seal("a", std::vector<uint64_t>(1001));
  ExpectRefusal(VerifySealedUpdate(sealed, fixture.Expectation()),
                RefusalReason::kBadLayout, "expected 4072 bytes, got 4076");
}

TEST(VerifySealedUpdateTest, RefusesWordsThatCouldMakeASumWrap) {
  SealedFixture fixture(32, 50'000);
  const int64_t term_max = fixture.Expectation().term_max;
  std::vector<uint64_t> words(fixture.count_, 0);
  for (const int64_t term : {term_max, -term_max}) {
    words.back() = static_cast<uint64_t>(term) & fixture.ring_.Mask();
    EXPECT_THAT(
        VerifySealedUpdate(fixture.Seal("a", words), fixture.Expectation()),
        IsOk());
  }
  for (const int64_t term :
       {term_max + 1, -term_max - 1, int64_t{-0x80000000}}) {
    words.back() = static_cast<uint64_t>(term) & fixture.ring_.Mask();
    ExpectRefusal(
        VerifySealedUpdate(fixture.Seal("a", words), fixture.Expectation()),
        RefusalReason::kOverNorm, "chunk 2");
  }
}

TEST(VerifySealedUpdateTest, UnreadableFileIsNotTheSitesFault) {
  SealedFixture fixture(32, 1000);
  const auto sealed = fixture.Seal("a", fixture.RandomWords(20));
  fixture.files_.KillProcess();  // its open files fail
  const auto result = VerifySealedUpdate(sealed, fixture.Expectation());
  EXPECT_THAT(result, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(RefusalOf(result.status()), std::nullopt);
}

}  // namespace
}  // namespace fedgraft
