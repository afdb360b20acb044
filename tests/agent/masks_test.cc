#include <string>

#include "common/protocol/roster_capability.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/agent_world.h"

// Whether a site lets its update out without masks, in a run of mode auto: its
// people's affair (policy and pinned roster), whatever the aggregator says.

namespace fedgraft::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class MasksTest : public ::testing::Test {
 protected:
  void PinRoster() {
    roster_.federation = "fed";
    roster_.keys[world_.options.site] = Bytes(32, 1);
    roster_.keys[SiteId{"other"}] = Bytes(32, 2);
    world_.options.pinned_roster = [this] {
      return absl::StatusOr<Roster>(roster_);
    };
  }
  void OfferUnmasked() {
    world_.aggregator.Offer(world_.aggregator.MakeTask(1, TaskKind::kTrain));
  }
  void OfferStep(SecureStep step) {
    Task task = world_.aggregator.MakeTask(1, TaskKind::kTrain);
    task.secure = {step, 1, {}};
    world_.aggregator.Offer(task);
  }
  void Run() {
    world_.Start();
    world_.loop.RunFor(absl::Seconds(20));
  }
  int Updates() { return world_.aggregator.Count("Submit"); }

  AgentWorld world_;
  Roster roster_;
};

TEST_F(MasksTest, WithoutARosterAnUpdateGoesOutAndItIsSaidThatItIsNotMasked) {
  OfferUnmasked();
  Run();
  EXPECT_EQ(Updates(), 1);
  EXPECT_THAT(world_.audit.Detail("unmasked"), HasSubstr("NOT masked"));
  EXPECT_TRUE(world_.aggregator.joins.at(0).capabilities.empty());
}

TEST_F(MasksTest, APinnedRosterIsAnnouncedAndNothingGoesOutWithoutMasks) {
  PinRoster();
  OfferUnmasked();
  Run();
  EXPECT_EQ(Updates(), 0);
  EXPECT_EQ(FindRoster(world_.aggregator.joins.at(0).capabilities),
            roster_.Hash());
  EXPECT_THAT(world_.audit.Names(), Not(Contains("unmasked")));
  // The aggregator hears why, so that it does not wait.
  ASSERT_EQ(world_.aggregator.reports.size(), 1u);
  EXPECT_THAT(world_.aggregator.reports[0].declined,
              HasSubstr("policy.secure_aggregation: round 1 asks for an update "
                        "without masks"));
}

TEST_F(MasksTest, APinnedRosterTakesPartInAMaskedRun) {
  PinRoster();
  OfferStep(SecureStep::kAdvertise);
  Run();
  EXPECT_EQ(world_.aggregator.Count("AnswerStep advertise"), 1);
}

TEST_F(MasksTest, ThePolicyMayLetUpdatesOutInSpiteOfARoster) {
  PinRoster();
  world_.options.policy.secure_aggregation = MaskPolicy::kOptional;
  OfferUnmasked();
  Run();
  EXPECT_EQ(Updates(), 1);
  EXPECT_THAT(world_.audit.Detail("unmasked"), HasSubstr("too few sites"));
}

// Even so an aggregator has to stay with what it began with.
TEST_F(MasksTest, ARunThatBeganWithMasksGetsNoUpdateWithoutThem) {
  PinRoster();
  world_.options.policy.secure_aggregation = MaskPolicy::kOptional;
  OfferStep(SecureStep::kAdvertise);
  OfferUnmasked();
  Run();
  EXPECT_EQ(world_.aggregator.Count("AnswerStep advertise"), 1);
  EXPECT_EQ(Updates(), 0);
}

TEST_F(MasksTest, APlanThatCannotBeMaskedIsRefusedWhereARosterIsPinned) {
  PinRoster();
  world_.aggregator.MakeSecure("off");
  OfferUnmasked();
  world_.Start();
  ASSERT_TRUE(world_.RunToEnd());
  EXPECT_EQ(world_.ended->code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(world_.ended->message()),
              HasSubstr("policy.secure_aggregation: the plan wants each site's "
                        "update to be opened by the aggregator (mode off)"));
}

TEST_F(MasksTest, ARosterThatCannotBeReadIsNoneOnlyIfNoneIsPinned) {
  world_.options.pinned_roster = [] {
    return absl::StatusOr<Roster>(absl::InvalidArgumentError("damaged"));
  };
  OfferUnmasked();
  Run();
  EXPECT_EQ(Updates(), 0);
  AgentWorld none;
  none.options.pinned_roster = [] {
    return absl::StatusOr<Roster>(absl::NotFoundError("none"));
  };
  none.aggregator.Offer(none.aggregator.MakeTask(1, TaskKind::kTrain));
  none.Start();
  none.loop.RunFor(absl::Seconds(20));
  EXPECT_EQ(none.aggregator.Count("Submit"), 1);
}

TEST_F(MasksTest, MasksThatAreRequiredNeedARoster) {
  world_.options.policy.secure_aggregation = MaskPolicy::kRequired;
  OfferUnmasked();
  world_.Start();
  ASSERT_TRUE(world_.RunToEnd());
  EXPECT_THAT(std::string(world_.ended->message()),
              HasSubstr("no roster is pinned"));
}

}  // namespace
}  // namespace fedgraft::testing
