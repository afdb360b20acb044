#include "common/numeric/update_payload.h"

#include <cmath>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

UpdatePayloadHead Head() {
  UpdatePayloadHead head;
  head.ring = {24, -3};
  head.count = 11'000;
  head.weight_word = uint64_t{1} << 31;
  head.saturated = 7;
  head.layout.bytes.fill(0xab);
  return head;
}

Plan SmallPlan() {
  Plan plan;
  plan.quorum = 3;
  plan.expected_sites = 4;
  return plan;
}

TEST(UpdateHeadTest, HasItsDocumentedBytes) {
  EXPECT_EQ(ToHex(EncodeUpdateHead(Head())),
            "46475550"
            "01000000"
            "18000000"
            "fdffffff"
            "f82a000000000000"
            "0000008000000000"
            "0700000000000000" +
                Head().layout.Hex());
}

TEST(UpdateHeadTest, RoundTrips) {
  const auto head = DecodeUpdateHead(EncodeUpdateHead(Head()));
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->ring, Head().ring);
  EXPECT_EQ(head->count, Head().count);
  EXPECT_EQ(head->weight_word, Head().weight_word);
  EXPECT_EQ(head->saturated, Head().saturated);
  EXPECT_EQ(head->layout, Head().layout);
}

TEST(UpdateHeadTest, RefusesHostileHeadsNamingTheField) {
  struct Case {
    size_t offset;
    uint8_t value;
    std::string field;
  };
  const Case cases[] = {
      {0, 0, "magic"},          {4, 2, "version"},     {8, 25, "word width"},
      {11, 0xff, "word width"}, {12, 63, "fraction"},  {15, 0x80, "fraction"},
      {22, 1, "at most"},       {23, 0x80, "at most"}, {38, 0xff, "saturated"}};
  for (const Case& bad : cases) {
    Bytes bytes = EncodeUpdateHead(Head());
    bytes[bad.offset] = bad.value;
    const auto head = DecodeUpdateHead(bytes);
    ASSERT_TRUE(absl::IsInvalidArgument(head.status())) << bad.offset;
    EXPECT_THAT(std::string(head.status().message()), HasSubstr(bad.field));
  }
}

TEST(UpdateHeadTest, RefusesEveryOtherLength) {
  const Bytes bytes = EncodeUpdateHead(Head());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeUpdateHead(ByteSpan(bytes).first(size)).ok());
  }
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(DecodeUpdateHead(longer).ok());
}

TEST(MaxTermsTest, LeavesRoomForLateSites) {
  Plan plan = SmallPlan();
  EXPECT_EQ(MaxTerms(plan), 16);
  plan.expected_sites = 9;
  EXPECT_EQ(MaxTerms(plan), 32);
  plan.quorum = 100;
  EXPECT_EQ(MaxTerms(plan), 256);
  plan.expected_sites = 1024;
  EXPECT_EQ(MaxTerms(plan), 2048);
}

TEST(TrainRingTest, HoldsMaxTermsOfRange) {
  const Plan plan = SmallPlan();
  const auto ring = TrainRing(plan);
  ASSERT_TRUE(ring.ok());
  EXPECT_EQ(*ring, (RingSpec{32, 24}));  // 2^31 > 16 · 4 · 2^24
  EXPECT_GE(std::ldexp(plan.update.range, ring->fraction_bits),
            ring->TermMax(MaxTerms(plan)) / 2.0 - 1);
}

TEST(SiteWeightTest, FollowsTheWeightingAndItsCap) {
  Plan plan = SmallPlan();
  EXPECT_EQ(SiteWeight(plan, 0), 0);
  EXPECT_EQ(SiteWeight(plan, 2048), 0.25);
  EXPECT_EQ(SiteWeight(plan, 8192), 1);
  EXPECT_EQ(SiteWeight(plan, 1'000'000), 1);
  plan.update.weighting = Weighting::kUniform;
  EXPECT_EQ(SiteWeight(plan, 5), 1);
}

TEST(WeightWordTest, ASumTellsTheWeightsAndTheSitesWithNews) {
  uint64_t sum = 0;
  for (int site = 0; site < 60000; ++site) {
    const uint64_t word = WeightWord(1);
    sum += site % 3 == 0 ? WithNews(word) : word;
  }
  EXPECT_EQ(WeightOfWord(sum), 60000);
  EXPECT_EQ(NewsOfWord(sum), 20000u);
  EXPECT_EQ(NewsOfWord(WeightWord(0.5)), 0u);
}

TEST(WeightWordTest, IsExactForPowersOfTwoAndNearOtherwise) {
  EXPECT_EQ(WeightWord(1), uint64_t{1} << 32);
  EXPECT_EQ(WeightWord(0.25), uint64_t{1} << 30);
  EXPECT_EQ(WeightWord(0), 0u);
  EXPECT_EQ(WeightOfWord(WeightWord(0.25)), 0.25);
  EXPECT_NEAR(WeightOfWord(WeightWord(1.0 / 3)), 1.0 / 3, 0x1p-33);
}

}  // namespace
}  // namespace fedgraft
