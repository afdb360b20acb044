#include "aggregator/rules/rule_state.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;

TEST(RuleStateTest, BeginsWithZeros) {
  RuleState state(2, 3);
  for (int slot : {0, 1}) {
    ASSERT_EQ(state.Slot(slot).size(), 3u);
    for (const float value : state.Slot(slot)) EXPECT_EQ(value, 0);
  }
}

TEST(RuleStateTest, ComesBackFromItsBytesBitForBit) {
  RuleState state(2, 3);
  state.Slot(0)[0] = 0.1f;
  state.Slot(1)[2] = -1e-40f;  // subnormal
  auto back = RuleState::Decode(state.Encode(), 2, 3);
  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(back->Slot(0)[0], 0.1f);
  EXPECT_EQ(back->Slot(1)[2], -1e-40f);
  EXPECT_EQ(back->Encode(), state.Encode());
}

TEST(RuleStateTest, RefusesBytesOfAnotherShape) {
  const Bytes bytes = RuleState(2, 3).Encode();
  EXPECT_THAT(RuleState::Decode(bytes, 1, 6),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(RuleState::Decode(bytes, 3, 2),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(RuleState::Decode(ByteSpan(bytes).first(bytes.size() - 1), 2, 3),
              HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(RuleState::Decode({}, 2, 3),
              HasCode(absl::StatusCode::kDataLoss));
  Bytes other = bytes;
  other[0] ^= 1;
  EXPECT_THAT(RuleState::Decode(other, 2, 3),
              HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedgraft
