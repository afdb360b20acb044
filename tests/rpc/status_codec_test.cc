#include "aggregator/net/status_codec.h"

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

CoordinatorSnapshot RunningSnapshot() {
  CoordinatorSnapshot snapshot;
  snapshot.run = RunId{"r1"};
  snapshot.state = "training";
  snapshot.round = RoundId{3};
  snapshot.rounds = 10;
  snapshot.sites[SiteId{"near"}].last_seen = kNow - absl::Seconds(5);
  snapshot.sites[SiteId{"gone"}].last_seen = kNow - absl::Minutes(5);
  return snapshot;
}

std::vector<RoundRecord> Rounds(int count, absl::Duration each) {
  std::vector<RoundRecord> history;
  for (int i = 1; i <= count; ++i) {
    RoundRecord round;
    round.round = RoundId{static_cast<uint32_t>(i)};
    round.elapsed = each;
    history.push_back(round);
  }
  return history;
}

TEST(StatusCodecTest, SitesUnheardOfForTwoPollsAreNotConnected) {
  const auto reply = StatusToWire("f", RunningSnapshot(), {}, true, kNow);
  ASSERT_EQ(reply.sites_size(), 2);
  EXPECT_EQ(reply.sites(0).site(), "gone");
  EXPECT_FALSE(reply.sites(0).connected());
  EXPECT_TRUE(reply.sites(1).connected());
}

TEST(StatusCodecTest, EtaIsTheMeanOfRecentRoundsTimesThoseLeft) {
  auto history = Rounds(2, absl::Seconds(4));
  const auto reply = StatusToWire("f", RunningSnapshot(), history, true, kNow);
  EXPECT_DOUBLE_EQ(reply.eta_seconds(), 4.0 * 8);
}

TEST(StatusCodecTest, EtaForgetsSlowFirstRounds) {
  auto history = Rounds(6, absl::Seconds(1));
  history[0].elapsed = absl::Hours(1);
  const auto reply = StatusToWire("f", RunningSnapshot(), history, true, kNow);
  EXPECT_DOUBLE_EQ(reply.eta_seconds(), 4.0);
}

TEST(StatusCodecTest, WithoutHistoryOnlyTheNewestRoundIsSent) {
  const auto history = Rounds(5, absl::Seconds(1));
  const auto reply = StatusToWire("f", RunningSnapshot(), history, false, kNow);
  ASSERT_EQ(reply.history_size(), 1);
  EXPECT_EQ(reply.history(0).round(), 5u);
}

TEST(StatusCodecTest, NoRunMeansNoRunFields) {
  const auto reply = StatusToWire("f", CoordinatorSnapshot(), {}, true, kNow);
  EXPECT_EQ(reply.run_id(), "");
  EXPECT_EQ(reply.federation(), "f");
}

}  // namespace
}  // namespace fedgraft
