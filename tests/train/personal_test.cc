#include <filesystem>
#include <fstream>

#include "client/train/path_io.h"
#include "client/train/session.h"
#include "common/model/safetensors.h"
#include "common/runtime/system_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// What of a model stays at a site, through a whole session: a local head, a
// personal model, and EWC's start.

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

Plan PartialPlan() {
  Plan plan = testing::SmallPlan();
  plan.strategy = StrategyKind::kPartial;
  plan.unfreeze = {"layer4.1.*"};
  plan.rounds = 2;
  return plan;
}

Plan LocalHeadPlan() {
  Plan plan = PartialPlan();
  plan.personal.kind = PersonalKind::kLocalHead;
  return plan;
}

Plan DittoPlan(double lambda) {
  Plan plan = PartialPlan();
  plan.personal = {PersonalKind::kDitto, lambda};
  return plan;
}

Plan EwcPlan(double lambda) {
  Plan plan = PartialPlan();
  plan.local_epochs = 6;
  plan.optimizer.momentum = 0;
  plan.regularizers.ewc_lambda = lambda;
  return plan;
}

class PersonalTest : public ::testing::Test {
 protected:
  PersonalTest() { testing::WriteBackbone(backbone_, "resnet18"); }

  // A site with a state folder of this name.
  std::unique_ptr<TrainerSession> Open(const Plan& plan,
                                       const std::string& site) {
    auto session = TryOpen(plan, folder_.File(site));
    EXPECT_THAT(session, IsOk());
    testing::WriteInitialModel(plan, backbone_, model_);
    return *std::move(session);
  }
  absl::StatusOr<std::unique_ptr<TrainerSession>> TryOpen(
      const Plan& plan, const std::string& state) {
    SessionConfig config;
    config.plan = plan;
    config.data =
        std::make_unique<FakeSource>(FakeSource::Options{.contrast = 0.2});
    config.compute = {"cpu", 1, "none"};
    config.backbone_path = backbone_;
    config.state_dir = state;
    return TrainerSession::Create(std::move(config), clock_);
  }
  ParameterVector Train(TrainerSession& session, int round) {
    const std::string delta = folder_.File("delta");
    EXPECT_THAT(session.RunTrain({round, model_, delta}, Silent), IsOk());
    return testing::ReadDelta(delta);
  }
  std::map<std::string, double> Evaluate(TrainerSession& session, int round,
                                         bool compare_local = false) {
    const auto evaluated = session.RunEvaluate(
        {round, model_, Split::kVal, compare_local, model_}, Silent);
    EXPECT_THAT(evaluated, IsOk());
    return evaluated->scalars;
  }

  testing::TempFolder folder_;
  std::string backbone_ = folder_.File("backbone.safetensors");
  std::string model_ = folder_.File("model.safetensors");
  SystemClock clock_;
};

TEST_F(PersonalTest, ALocalHeadIsInNoLayoutAndNoUpdate) {
  const Plan plan = LocalHeadPlan();
  const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
  for (const TensorSpec& spec : layout.tensors()) {
    EXPECT_FALSE(spec.name.starts_with("fc.")) << spec.name;
  }
  const ParameterLayout shared = testing::LayoutOf(PartialPlan(), backbone_);
  auto session = Open(plan, "site");
  EXPECT_EQ(session->layout_digest(), layout.digest());
  const ParameterVector delta = Train(*session, 1);
  EXPECT_EQ(static_cast<int64_t>(delta.size()), shared.Count() - 2 * 512 - 2);
  // It is where it belongs.
  const auto kept =
      SafetensorsFile::Open(folder_.File("site/local/00000001.safetensors"));
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(kept->tensors().size(), 2u);
  EXPECT_TRUE(kept->tensors().contains("fc.weight"));
}

TEST_F(PersonalTest, ALocalHeadFollowsTheRounds) {
  const Plan plan = LocalHeadPlan();
  auto session = Open(plan, "site");
  const double untrained = Evaluate(*session, 0).at("loss");
  const ParameterVector first = Train(*session, 1);
  // The same shared model, with the head of this site.
  const double after = Evaluate(*session, 1).at("loss");
  EXPECT_LT(after, untrained);
  EXPECT_EQ(Evaluate(*session, 0).at("loss"), untrained);
  const ParameterVector second = Train(*session, 2);
  EXPECT_NE(first, second);
  // Done again, here and in another process.
  EXPECT_EQ(Train(*session, 2), second);
  auto restarted = Open(plan, "site");
  EXPECT_EQ(Train(*restarted, 2), second);
  EXPECT_EQ(Evaluate(*restarted, 1).at("loss"), after);
  EXPECT_TRUE(Evaluate(*restarted, 2, true).contains("local_loss"));
}

TEST_F(PersonalTest, APersonalModelLeavesTheUpdateAsItIs) {
  auto without = Open(PartialPlan(), "without");
  auto with = Open(DittoPlan(1), "with");
  EXPECT_EQ(with->layout_digest(), without->layout_digest());
  for (int round : {1, 2}) {
    EXPECT_EQ(Train(*with, round), Train(*without, round)) << round;
  }
  const auto plain = Evaluate(*without, 2), both = Evaluate(*with, 2);
  EXPECT_FALSE(plain.contains("personal_loss"));
  EXPECT_EQ(plain.at("loss"), both.at("loss"));
  EXPECT_EQ(both.at("personal_n"), 6);
  // The shared model is the initial one still; the site's own has learnt.
  EXPECT_LT(both.at("personal_loss"), both.at("loss"));
}

TEST_F(PersonalTest, APersonalModelGivesTheSameBytesAgain) {
  const Plan plan = DittoPlan(0.5);
  const auto bytes = [&](const std::string& site, int round) {
    return *ReadFile(folder_.File(site + "/personal/0000000" +
                                  std::to_string(round) + ".safetensors"));
  };
  auto session = Open(plan, "site");
  Train(*session, 1);
  Train(*session, 2);
  const Bytes second = bytes("site", 2);
  EXPECT_NE(bytes("site", 1), second);
  Train(*session, 2);
  EXPECT_EQ(bytes("site", 2), second);
  auto restarted = Open(plan, "site");
  Train(*restarted, 2);
  EXPECT_EQ(bytes("site", 2), second);
}

// As a remedy: from the round in which the site is asked for it, and from the
// shared model of that round.
TEST_F(PersonalTest, ASiteThatDiffersGetsAModelOfItsOwn) {
  Plan plan = PartialPlan();
  plan.shift = {1, 0.05, OnShift::kApply};
  auto plain = Open(PartialPlan(), "plain");
  auto session = Open(plan, "site");
  const std::string delta = folder_.File("delta");
  EXPECT_EQ(Train(*session, 1), Train(*plain, 1));
  EXPECT_FALSE(Evaluate(*session, 1).contains("personal_loss"));
  ASSERT_THAT(session->RunTrain(
                  {2, model_, delta, "", SiteRemedy::kPersonalModel}, Silent),
              IsOk());
  EXPECT_EQ(testing::ReadDelta(delta), Train(*plain, 2));
  const auto after = Evaluate(*session, 2);
  EXPECT_LT(after.at("personal_loss"), after.at("loss"));
  auto restarted = Open(plan, "site");
  EXPECT_EQ(Evaluate(*restarted, 2), after);
  // The plan of the other has no room for one.
  EXPECT_THAT(
      plain
          ->RunTrain({2, model_, delta, "", SiteRemedy::kPersonalModel}, Silent)
          .status(),
      IsError(absl::StatusCode::kInvalidArgument, "personal model"));
}

TEST_F(PersonalTest, LambdaDrawsThePersonalModelToTheSharedOne) {
  const auto distance = [&](double lambda) {
    const Plan plan = DittoPlan(lambda);
    const std::string site = "site" + std::to_string(lambda);
    auto session = Open(plan, site);
    Train(*session, 1);
    const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
    const ParameterVector own = *DecodeTrainableSet(
        layout,
        *ReadFile(folder_.File(site + "/personal/00000001.safetensors")));
    const ParameterVector shared =
        *DecodeTrainableSet(layout, *ReadFile(model_));
    double sum = 0;
    for (size_t i = 0; i < own.size(); ++i) {
      sum += std::pow(own[i] - shared[i], 2);
    }
    return std::sqrt(sum);
  };
  const double loose = distance(1e-6), tight = distance(20);
  EXPECT_GT(tight, 0);
  EXPECT_LT(tight, 0.8 * loose);
}

TEST_F(PersonalTest, EwcStartsFromTheRunsStartWheneverASiteJoins) {
  const Plan plan = EwcPlan(10);
  auto early = Open(plan, "early");
  Train(*early, 1);
  // Another global model by now.
  const ParameterLayout layout = testing::LayoutOf(plan, backbone_);
  ParameterVector moved = *DecodeTrainableSet(layout, *ReadFile(model_));
  for (float& value : moved) value += 0.001f;
  auto late = Open(plan, "late");
  ASSERT_THAT(WriteFile(model_, EncodeTrainableSet(layout, moved)), IsOk());
  const ParameterVector second = Train(*early, 2);
  EXPECT_EQ(Train(*late, 2), second);
  EXPECT_EQ(*ReadFile(folder_.File("late/ewc.safetensors")),
            *ReadFile(folder_.File("early/ewc.safetensors")));
  // Done again in another process, from the file.
  const auto written =
      std::filesystem::last_write_time(folder_.File("late/ewc.safetensors"));
  auto restarted = TryOpen(plan, folder_.File("late"));
  ASSERT_THAT(restarted, IsOk());
  EXPECT_EQ(Train(**restarted, 2), second);
  EXPECT_EQ(
      std::filesystem::last_write_time(folder_.File("late/ewc.safetensors")),
      written);
}

TEST_F(PersonalTest, EwcHoldsTheModelAndReportsWhatWasForgotten) {
  const auto norm = [](const ParameterVector& delta) {
    double sum = 0;
    for (float value : delta) sum += std::pow(value, 2);
    return std::sqrt(sum);
  };
  auto held = Open(EwcPlan(30), "held");
  auto loose = Open(EwcPlan(1e-3), "loose");
  const double held_norm = norm(Train(*held, 1));
  const double loose_norm = norm(Train(*loose, 1));
  EXPECT_LT(held_norm, 0.9 * loose_norm);

  EXPECT_FALSE(Evaluate(*held, 1).contains("forgetting_measured"));
  const auto at_start = Evaluate(*held, 2);
  EXPECT_NEAR(at_start.at("forgetting_measured"), 0, 1e-9);
  EXPECT_NEAR(at_start.at("forgetting_predicted"), 0, 1e-9);
  // A small step away.
  const ParameterLayout layout = testing::LayoutOf(EwcPlan(30), backbone_);
  ParameterVector moved = *DecodeTrainableSet(layout, *ReadFile(model_));
  const ParameterVector delta = Train(*loose, 1);
  for (size_t i = 0; i < moved.size(); ++i) moved[i] += 0.05f * delta[i];
  ASSERT_THAT(WriteFile(model_, EncodeTrainableSet(layout, moved)), IsOk());
  const auto scalars = Evaluate(*held, 2);
  EXPECT_GT(scalars.at("forgetting_measured"), 0);
  EXPECT_NEAR(
      scalars.at("forgetting_predicted") / scalars.at("forgetting_measured"), 1,
      0.2);
}

TEST_F(PersonalTest, ASiteThatNeverTrainedReportsNoForgetting) {
  auto session = Open(EwcPlan(1), "new");
  EXPECT_FALSE(Evaluate(*session, 2).contains("forgetting_measured"));
}

TEST_F(PersonalTest, WhatStaysNeedsAStateFolder) {
  for (const Plan& plan : {LocalHeadPlan(), DittoPlan(1), EwcPlan(1)}) {
    EXPECT_THAT(TryOpen(plan, ""), IsError(absl::StatusCode::kInvalidArgument,
                                           "needs a state folder"));
  }
}

}  // namespace
}  // namespace fedgraft
