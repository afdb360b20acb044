#include "aggregator/shift/shift_report.h"

#include <cmath>
#include <map>
#include <random>
#include <string>

#include "aggregator/shift/remedy_choice.h"
#include "aggregator/shift/shift_charts.h"
#include "aggregator/shift/shift_json.h"
#include "common/shift/distributions.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kSites[] = {"a", "b", "c", "d", "e"};

// p-values of a round in which nothing differs.
ShiftHistory QuietRound() {
  ShiftHistory history;
  for (const char* site : kSites) {
    for (const ShiftTestSpec& test : ShiftTests()) {
      history[1][site][ShiftScalar(test.name, "p")] = 0.5;
      history[1][site][ShiftScalar(test.name, "effect")] = 0.01;
    }
    history[1][site][std::string(kShiftNewRecords)] = 200;
  }
  return history;
}

void Set(ShiftHistory& history, const std::string& test, double p) {
  history[1]["a"][ShiftScalar(test, "p")] = p;
}

SiteTriage TriageOfFirst(const ShiftHistory& history) {
  return MakeShiftReport(history, {}).value().triage.at(0);
}

TEST(TriageTest, NamesNothingWhereNothingDiffers) {
  const SiteTriage triage = TriageOfFirst(QuietRound());
  EXPECT_THAT(triage.kinds, IsEmpty());
  EXPECT_EQ(triage.verdict, "no shift");
  EXPECT_EQ(triage.remedy, ShiftRemedy::kNone);
}

TEST(TriageTest, LabelShiftExplainsFeaturesThatMoveWithIt) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 1e-6);
  Set(history, "acquisition_brightness", 1e-4);
  Set(history, "label_score", 1e-9);
  const SiteTriage triage = TriageOfFirst(history);
  EXPECT_THAT(triage.kinds, ElementsAre(ShiftKind::kLabel));
  EXPECT_EQ(triage.verdict, "label shift");
  EXPECT_EQ(triage.remedy, ShiftRemedy::kPriorCorrection);
  EXPECT_THAT(triage.reason, HasSubstr("base rate"));
}

TEST(TriageTest, FeaturesBeyondLabelsAreCovariateShiftToo) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 1e-6);
  Set(history, "covariate_adjusted", 1e-6);
  Set(history, "label_score", 1e-9);
  const SiteTriage triage = TriageOfFirst(history);
  EXPECT_THAT(triage.kinds,
              ElementsAre(ShiftKind::kCovariate, ShiftKind::kLabel));
  EXPECT_EQ(triage.verdict, "covariate and label shift");
}

Plan ApplyingPlan() {
  Plan plan;
  plan.shift.on_shift = OnShift::kApply;
  return plan;
}

TEST(RemedyChoiceTest, FollowsTheTriageOfSitesThatDiffer) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 1e-6);
  Set(history, "covariate_adjusted", 1e-6);
  history[1]["b"][ShiftScalar("label_score", "p")] = 1e-9;
  history[1]["c"][ShiftScalar("concept_score", "p")] = 1e-9;
  const auto choices = ChooseRemedies(ApplyingPlan(), history[1]);
  ASSERT_TRUE(choices.has_value());
  EXPECT_EQ(*choices, (std::map<std::string, RemedyChoice>{
                          {"a", {SiteRemedy::kImportanceWeights}},
                          {"b", {SiteRemedy::kPriorCorrection}},
                          {"c", {SiteRemedy::kPersonalModel}}}));
}

TEST(RemedyChoiceTest, SaysWhatStandsAgainstIt) {
  ShiftHistory history = QuietRound();
  Set(history, "label_score", 1e-9);
  history[1]["c"][ShiftScalar("concept_score", "p")] = 1e-9;
  for (const char* test : {"covariate_mmd", "covariate_adjusted", "label_em",
                           "label_profiled", "concept_score"}) {
    history[1]["d"][ShiftScalar(test, "p")] = 1e-9;
  }
  Plan plan = ApplyingPlan();
  plan.loss.class_weights = ClassWeights::kLocal;
  plan.personal.kind = PersonalKind::kDitto;
  const auto choices = *ChooseRemedies(plan, history[1]);
  EXPECT_EQ(choices.at("a").obstacle, RemedyObstacle::kClassesWeighted);
  EXPECT_EQ(choices.at("c").obstacle, RemedyObstacle::kOwnModels);
  EXPECT_EQ(choices.at("d").obstacle, RemedyObstacle::kPeopleFirst);
  EXPECT_FALSE(choices.contains("b"));
}

TEST(RemedyChoiceTest, WaitsUntilEnoughSitesHaveTold) {
  ShiftHistory history = QuietRound();
  history[1].erase("d");
  history[1].erase("e");
  EXPECT_FALSE(ChooseRemedies(ApplyingPlan(), history[1]).has_value());
}

TEST(RemedyChoiceTest, TheReportSaysWhatIsDoneAndWhatIsNot) {
  ShiftHistory history = QuietRound();
  Set(history, "label_score", 1e-9);
  history[1]["a"][std::string(kChosenRemedy)] = 2;
  history[1]["a"][std::string(kChosenObstacle)] = 0;
  history[1]["b"][ShiftScalar("concept_score", "p")] = 1e-9;
  history[1]["b"][std::string(kChosenRemedy)] = 3;
  history[1]["b"][std::string(kChosenObstacle)] =
      static_cast<double>(RemedyObstacle::kSolver);
  const ShiftReport report = MakeShiftReport(history, {}).value();
  EXPECT_EQ(report.triage[0].applied, SiteRemedy::kPriorCorrection);
  EXPECT_EQ(report.triage[1].applied, SiteRemedy::kNone);
  const auto json = nlohmann::json::parse(ShiftReportJson(report));
  EXPECT_EQ(json["triage"][0]["applied"], "prior correction");
  EXPECT_EQ(json["triage"][1]["applied"], "");
  EXPECT_THAT(json["triage"][1]["obstacle"].get<std::string>(),
              HasSubstr("solves for the head"));
  EXPECT_THAT(ShiftReportTable(report), HasSubstr("Applied from the next "));
  EXPECT_THAT(ShiftReportTable(report), HasSubstr("Not applied: the plan "));
}

TEST(TriageTest, OtherScannersExplainCovariateShiftAndDecideNothing) {
  ShiftHistory history = QuietRound();
  Set(history, "acquisition_manufacturer", 1e-30);
  Set(history, "acquisition_model", 0.02);
  const SiteTriage alike = TriageOfFirst(history);
  EXPECT_THAT(alike.kinds, IsEmpty());
  EXPECT_THAT(alike.reason, Not(HasSubstr("scanners")));
  Set(history, "covariate_adjusted", 1e-9);
  EXPECT_THAT(TriageOfFirst(history).reason,
              HasSubstr("Its images come from other scanners (manufacturers p "
                        "1e-30)."));
  Set(history, "acquisition_manufacturer", 0.5);
  EXPECT_THAT(TriageOfFirst(history).reason, Not(HasSubstr("scanners")));
  Set(history, "acquisition_model", 1e-3);
  EXPECT_THAT(TriageOfFirst(history).reason,
              HasSubstr("scanners (scanner models p 0.001)."));
  // Labels do not come from scanners.
  Set(history, "covariate_adjusted", 0.5);
  Set(history, "label_score", 1e-9);
  EXPECT_THAT(TriageOfFirst(history).reason, Not(HasSubstr("scanners")));
}

TEST(TriageTest, UnderConceptShiftFeaturesDecideOnLabelShift) {
  ShiftHistory history = QuietRound();
  Set(history, "concept_score", 1e-9);
  Set(history, "label_score", 1e-9);
  Set(history, "label_profiled", 1e-9);
  EXPECT_THAT(TriageOfFirst(history).kinds, ElementsAre(ShiftKind::kConcept));
  Set(history, "label_em", 1e-9);
  Set(history, "label_profiled", 0.5);
  EXPECT_THAT(TriageOfFirst(history).kinds,
              ElementsAre(ShiftKind::kLabel, ShiftKind::kConcept));
}

TEST(TriageTest, UnderConceptAndCovariateShiftInterceptsMustAgree) {
  ShiftHistory history = QuietRound();
  Set(history, "concept_score", 1e-9);
  Set(history, "covariate_adjusted", 1e-9);
  Set(history, "label_em", 1e-9);
  EXPECT_THAT(TriageOfFirst(history).kinds,
              ElementsAre(ShiftKind::kCovariate, ShiftKind::kConcept));
  Set(history, "label_profiled", 1e-9);
  EXPECT_THAT(TriageOfFirst(history).kinds,
              ElementsAre(ShiftKind::kCovariate, ShiftKind::kLabel,
                          ShiftKind::kConcept));
}

TEST(TriageTest, WhereNoKindSpeaksUpTheLikelierIsNamed) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 1e-6);
  Set(history, "label_score", 0.04);
  Set(history, "covariate_adjusted", 0.2);
  EXPECT_THAT(TriageOfFirst(history).kinds, ElementsAre(ShiftKind::kLabel));
  Set(history, "covariate_adjusted", 0.039);
  EXPECT_THAT(TriageOfFirst(history).kinds, ElementsAre(ShiftKind::kCovariate));
}

TEST(TriageTest, SiteThatDoesNotDifferIsNotTakenApart) {
  ShiftHistory history = QuietRound();
  Set(history, "concept_score", 0.01);  // one of 50
  EXPECT_THAT(TriageOfFirst(history).kinds, IsEmpty());
}

TEST(TriageTest, TestsThatDecideNothingAreShownAndNoMore) {
  ShiftHistory history = QuietRound();
  Set(history, "concept_conditional", 1e-12);
  Set(history, "label_em", 1e-12);
  const ShiftReport report = MakeShiftReport(history, {}).value();
  EXPECT_EQ(report.triage[0].verdict, "no shift");
  EXPECT_EQ(report.cells.at(1).at("a").at("label_em").p, 1e-12);
}

TEST(ShiftReportTest, CorrectsForAllSitesAndTestsOfARound) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 0.01);  // one of 5 sites x 10 tests
  EXPECT_EQ(TriageOfFirst(history).verdict, "no shift");
  Set(history, "covariate_mmd", 1e-4);
  EXPECT_EQ(TriageOfFirst(history).verdict, "covariate shift");
}

TEST(ShiftReportTest, OneSiteOfBadNumbersIsNotedAndSpoilsNothing) {
  ShiftHistory history = QuietRound();
  Set(history, "covariate_mmd", 7);
  Set(history, "label_score", std::nan(""));
  history[1]["b"][ShiftScalar("label_score", "p")] = 1e-9;
  const ShiftReport report = MakeShiftReport(history, {}).value();
  EXPECT_THAT(report.notes, SizeIs(2));
  EXPECT_THAT(report.notes[0], HasSubstr("site a: shift.covariate_mmd.p is 7"));
  EXPECT_EQ(report.triage[1].verdict, "label shift");
}

TEST(ShiftReportTest, SaysThatFewerThanFourSitesAreTooFew) {
  ShiftHistory history = QuietRound();
  history[1].erase("a");
  history[1].erase("b");
  const ShiftReport report = MakeShiftReport(history, {}).value();
  EXPECT_THAT(report.notes.at(0), HasSubstr("3 of at least 4 sites"));
  EXPECT_THAT(MakeShiftReport({}, {})->notes.at(0), HasSubstr("No site"));
}

TEST(ShiftReportTest, RefusesRatesThatAreNone) {
  ShiftReportOptions options;
  options.false_alarm_rate = 1;
  EXPECT_TRUE(absl::IsInvalidArgument(MakeShiftReport({}, options).status()));
}

// Deviates of every chart N(mean, 1) where `mean` is that of site a's features.
ShiftHistory RunOf(uint64_t seed, uint32_t rounds, uint32_t onset,
                   double change, double always = 0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  ShiftHistory history;
  for (uint32_t round = 1; round <= rounds; ++round) {
    for (const char* site : kSites) {
      for (const ShiftTestSpec& test : ShiftTests()) {
        if (!(test.alarm_share > 0)) continue;
        double z = normal(random);
        if (site == kSites[0] && test.name == "covariate_mmd") {
          z += always + (round >= onset ? change : 0);
        }
        history[round][site][ShiftScalar(test.name, "p")] = NormalTail(z);
      }
      history[round][site][std::string(kShiftNewRecords)] = 50;
    }
  }
  return history;
}

ShiftReportOptions FiftyRounds() {
  ShiftReportOptions options;
  options.rounds = 50;
  return options;
}

TEST(ShiftChartsTest, QuietRunsAlarmAsRarelyAsStated) {
  // 400 runs at 5 %: more than 35 with probability below 1e-3.
  int alarmed = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    alarmed +=
        MakeShiftReport(RunOf(seed, 50, 99, 0), FiftyRounds())->alarms.empty()
            ? 0
            : 1;
  }
  EXPECT_LE(alarmed, 35);
}

TEST(ShiftChartsTest, SiteThatAlwaysDifferedHasNoAlarm) {
  int alarmed = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    alarmed += MakeShiftReport(RunOf(seed, 50, 99, 0, 6), FiftyRounds())
                       ->alarms.empty()
                   ? 0
                   : 1;
  }
  EXPECT_LE(alarmed, 13);  // 5 %: probability below 1e-3
}

TEST(ShiftChartsTest, ChangeIsFoundSoonAndNamed) {
  int found = 0;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const ShiftReport report =
        MakeShiftReport(RunOf(seed, 40, 20, 4), FiftyRounds()).value();
    for (const ShiftAlarm& alarm : report.alarms) {
      if (alarm.site == "a" && alarm.test == "covariate_mmd" &&
          alarm.round >= 20 && alarm.round < 24) {
        EXPECT_TRUE(alarm.upwards);
        ++found;
        break;
      }
    }
  }
  EXPECT_GE(found, 90);
}

TEST(ShiftChartsTest, AcknowledgedChangeIsTheNewBaseline) {
  const ShiftHistory history = RunOf(3, 50, 20, 5);
  ShiftReportOptions options = FiftyRounds();
  const ShiftReport before = MakeShiftReport(history, options).value();
  ASSERT_EQ(before.charts.at(0).state, ChartState::kAlarm);
  options.acknowledged[{"a", "covariate_mmd"}] = 23;
  const ShiftReport after = MakeShiftReport(history, options).value();
  EXPECT_EQ(after.charts.at(0).state, ChartState::kQuiet);
  EXPECT_THAT(after.charts[0].alarms, SizeIs(1));
}

TEST(ShiftChartsTest, StandsStillWithoutNewRecords) {
  ShiftHistory history = RunOf(3, 20, 99, 0);
  for (uint32_t round = 5; round <= 20; ++round) {
    // The same records again repeat their p-value, however extreme.
    history[round]["a"][ShiftScalar("covariate_mmd", "p")] = 1e-9;
    history[round]["a"][std::string(kShiftNewRecords)] = 0;
  }
  const ShiftReport report = MakeShiftReport(history, FiftyRounds()).value();
  EXPECT_THAT(report.charts.at(0).points, SizeIs(4));
  EXPECT_EQ(report.charts[0].state, ChartState::kLearning);
  EXPECT_THAT(report.charts[0].alarms, IsEmpty());
}

TEST(TransferTest, VerdictsNeedAnIntervalAndTheAdjustedP) {
  ShiftHistory history;
  const auto add = [&](const char* site, double delta, double half, double p) {
    history[10][site] = {{"transfer.delta", delta},
                         {"transfer.low", delta - half},
                         {"transfer.high", delta + half},
                         {"transfer.p", p}};
  };
  add("a", 0.05, 0.02, 1e-5);
  add("b", -0.04, 0.02, 1e-4);
  add("c", -0.02, 0.019, 0.04);  // not after correction for three
  add("d", 0, 0.03, 0.9);
  const ShiftReport report = MakeShiftReport(history, {}).value();
  std::vector<TransferVerdict> verdicts;
  for (const SiteTransfer& transfer : report.transfer) {
    verdicts.push_back(transfer.verdict);
  }
  EXPECT_THAT(verdicts,
              ElementsAre(TransferVerdict::kHelps, TransferVerdict::kHarms,
                          TransferVerdict::kNoDifference,
                          TransferVerdict::kNoDifference));
  EXPECT_THAT(ShiftReportTable(report),
              HasSubstr("a gains most (+0.050), b least (-0.040)."));
}

TEST(ShiftJsonTest, HasEveryMemberThatTheHeaderNames) {
  ShiftHistory history = RunOf(3, 30, 20, 6);
  history[30]["a"]["shift.prior.0"] = 0.25;
  history[30]["a"]["shift.prior.0.low"] = 0.2;
  history[30]["a"]["shift.prior.0.high"] = 0.3;
  history[30]["a"]["shift.reference.0"] = 1.0 / 3;
  history[30]["b"]["transfer.delta"] = -0.1;
  history[30]["b"]["transfer.low"] = -0.2;
  history[30]["b"]["transfer.high"] = -0.05;
  history[30]["b"]["transfer.p"] = 0.001;
  ShiftReportOptions options = FiftyRounds();
  options.class_names = {"normal", "pneumonia"};
  const ShiftReport report = MakeShiftReport(history, options).value();
  const std::string text = ShiftReportJson(report);
  EXPECT_EQ(text, ShiftReportJson(report));
  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["sites"].size(), 5u);
  EXPECT_EQ(json["rounds"].size(), 30u);
  EXPECT_EQ(json["tests"].size(), ShiftTests().size());
  for (const char* grid :
       {"p", "adjusted", "effect", "statistic", "dof", "differs"}) {
    ASSERT_EQ(json[grid].size(), 30u) << grid;
    ASSERT_EQ(json[grid][0].size(), 5u) << grid;
    ASSERT_EQ(json[grid][0][0].size(), ShiftTests().size()) << grid;
  }
  EXPECT_TRUE(json["p"][0][0][1].is_null());  // not released
  EXPECT_EQ(json["charts"][0]["state"], "alarm");
  EXPECT_EQ(json["charts"][0]["value"].size(), 30u);
  EXPECT_EQ(json["alarms"][0]["direction"], "up");
  EXPECT_EQ(json["priors"][0]["class"], "normal");
  EXPECT_EQ(json["priors"][0]["reference"], 0.33333);
  EXPECT_EQ(json["transfer"][0]["verdict"], "harms");
  EXPECT_EQ(json["triage"].size(), 150u);
}

TEST(ShiftJsonTest, NamesThatAreNoUtf8DoNotThrow) {
  ShiftHistory history = QuietRound();
  ShiftReportOptions options;
  options.class_names = {"\xff"};
  EXPECT_TRUE(nlohmann::json::accept(
      ShiftReportJson(MakeShiftReport(history, options).value())));
}

TEST(ShiftTableTest, SaysWhoDiffersAndWhatToDo) {
  ShiftHistory history = QuietRound();
  Set(history, "label_score", 1e-9);
  const std::string table =
      ShiftReportTable(MakeShiftReport(history, {}).value());
  EXPECT_THAT(table, HasSubstr("a     label shift"));
  EXPECT_THAT(table, HasSubstr("Correct predictions"));
  EXPECT_THAT(table, HasSubstr("none"));
}

}  // namespace
}  // namespace fedgraft
