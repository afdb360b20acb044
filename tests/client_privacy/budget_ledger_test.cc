#include "client/privacy/budget_ledger.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using testing::SimFileStore;

constexpr char kPath[] = "privacy/default.json";
const RunId kRun{"run-1"};

ReleaseCost RecordCost(double noise = 2, double steps = 10) {
  ReleaseCost cost;
  cost.kind = DifferentialPrivacy::kRecord;
  cost.noise_multiplier = noise;
  cost.rate = 0.1;
  cost.steps = steps;
  return cost;
}

ReleaseCost SiteCost() {
  ReleaseCost cost;
  cost.kind = DifferentialPrivacy::kSite;
  cost.sum = {1e8, 4e9, 1000, 3};
  return cost;
}

PrivacyBudget Budget(double epsilon_max) {
  PrivacyBudget budget;
  budget.epsilon_max = epsilon_max;
  return budget;
}

TEST(BudgetLedgerTest, CountsOverRunsRoundsAndProcesses) {
  SimFileStore files;
  double last = 0;
  for (uint32_t round = 1; round <= 3; ++round) {
    BudgetLedger ledger(files, PrivacyBudget());
    const auto charge = ledger.Charge(kRun, RoundId{round}, RecordCost());
    ASSERT_TRUE(charge.ok()) << charge.status();
    EXPECT_GT(charge->epsilon(), last);
    EXPECT_DOUBLE_EQ(
        charge->epsilon(),
        TotalEpsilon({{RecordCost(), double(round)}}, 1e-5).epsilon);
    EXPECT_EQ(charge->round().value, round);
    last = charge->epsilon();
  }
  BudgetLedger ledger(files, PrivacyBudget());
  ASSERT_TRUE(ledger.Charge(RunId{"run-2"}, RoundId{1}, RecordCost(1)).ok());
  EXPECT_DOUBLE_EQ(
      *ledger.Spent(),
      TotalEpsilon({{RecordCost(), 3}, {RecordCost(1), 1}}, 1e-5).epsilon);
}

TEST(BudgetLedgerTest, KeepsAwkwardNumbersExactly) {
  SimFileStore files;
  ReleaseCost cost = RecordCost(1.0 / 3, 7);
  cost.rate = 64.0 / 4708;
  BudgetLedger first(files, PrivacyBudget());
  ASSERT_TRUE(first.Charge(kRun, RoundId{1}, cost).ok());
  BudgetLedger second(files, PrivacyBudget());
  ASSERT_TRUE(second.Charge(kRun, RoundId{2}, cost).ok());
  const Bytes content = files.Content(kPath);
  EXPECT_THAT(std::string(AsText(content)), HasSubstr("\"count\": 2"));
}

TEST(BudgetLedgerTest, ASpentBudgetIsRefusedAndNotCharged) {
  SimFileStore files;
  const double three = TotalEpsilon({{RecordCost(), 3}}, 1e-5).epsilon;
  BudgetLedger ledger(files, Budget(three * 1.0001));
  for (uint32_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(ledger.Charge(kRun, RoundId{round}, RecordCost()).ok());
  }
  const Bytes before = files.Content(kPath);
  const auto refused = ledger.Charge(kRun, RoundId{4}, RecordCost());
  EXPECT_TRUE(absl::IsPermissionDenied(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("policy.epsilon_max: data set default has spent"));
  EXPECT_EQ(files.Content(kPath), before);
  // What costs less may still fit.
  EXPECT_TRUE(ledger.Charge(kRun, RoundId{4}, RecordCost(1000, 1)).ok());
}

TEST(BudgetLedgerTest, ReleasesOfDifferentKindsAreNotAdded) {
  SimFileStore files;
  BudgetLedger ledger(files, PrivacyBudget());
  ASSERT_TRUE(ledger.Charge(kRun, RoundId{1}, SiteCost()).ok());
  ASSERT_TRUE(ledger.Charge(kRun, RoundId{2}, SiteCost()).ok());
  const auto other = ledger.Charge(kRun, RoundId{3}, RecordCost());
  EXPECT_TRUE(absl::IsPermissionDenied(other.status()));
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("policy.data_set"));
}

TEST(BudgetLedgerTest, DataSetsHaveLedgersOfTheirOwn) {
  SimFileStore files;
  PrivacyBudget other;
  other.data_set = "chest";
  BudgetLedger a(files, PrivacyBudget()), b(files, other);
  ASSERT_TRUE(a.Charge(kRun, RoundId{1}, RecordCost()).ok());
  EXPECT_EQ(*b.Spent(), 0);
  ASSERT_TRUE(b.Charge(kRun, RoundId{1}, SiteCost()).ok());
  EXPECT_TRUE(files.Exists("privacy/chest.json"));
}

TEST(BudgetLedgerTest, AnUnreadableLedgerIsNotAnEmptyOne) {
  const char* kDamaged[] = {
      "",
      "{}",
      "[1]",
      R"({"version":2,"data_set":"default","releases":[]})",
      R"({"version":1,"data_set":"other","releases":[]})",
      R"({"version":1,"data_set":"default","releases":[{"kind":"record"}]})",
      R"({"version":1,"data_set":"default","releases":[{"kind":"record",
          "noise_multiplier":1,"rate":2,"steps":1,"count":1}]})",
      R"({"version":1,"data_set":"default","releases":[{"kind":"record",
          "noise_multiplier":1,"rate":0.5,"steps":1,"count":-1}]})"};
  for (const char* text : kDamaged) {
    SimFileStore files;
    const std::string content = text;
    files.SetContent(kPath, Bytes(content.begin(), content.end()));
    BudgetLedger ledger(files, PrivacyBudget());
    const auto charge = ledger.Charge(kRun, RoundId{1}, RecordCost());
    EXPECT_TRUE(absl::IsDataLoss(charge.status())) << text << charge.status();
    EXPECT_FALSE(ledger.Spent().ok());
  }
}

TEST(BudgetLedgerTest, WhatTheDiskDidNotTakeIsNoCharge) {
  SimFileStore files;
  BudgetLedger ledger(files, PrivacyBudget());
  files.FailAppends(1);
  EXPECT_FALSE(ledger.Charge(kRun, RoundId{1}, RecordCost()).ok());
  files.FailSyncs(1);
  EXPECT_FALSE(ledger.Charge(kRun, RoundId{1}, RecordCost()).ok());
  EXPECT_EQ(*ledger.Spent(), 0);
  EXPECT_TRUE(ledger.Charge(kRun, RoundId{1}, RecordCost()).ok());
}

// Power fails at every operation of the disk, three times over; after each
// crash everything that Charge returned is counted.
TEST(BudgetLedgerTest, NoCrashForgetsACharge) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    for (uint64_t halt = 1; halt <= 24; ++halt) {
      SCOPED_TRACE(absl::StrCat(seed, " ", halt));
      SimFileStore files;
      uint64_t returned = 0;
      for (int life = 0; life < 3; ++life) {
        BudgetLedger ledger(files, PrivacyBudget());
        files.HaltAfter(halt);
        for (uint32_t round = 1; round <= 5; ++round) {
          if (ledger.Charge(kRun, RoundId{round}, SiteCost()).ok()) ++returned;
        }
        files.Crash(seed * 100 + halt);
        BudgetLedger after(files, PrivacyBudget());
        const auto spent = after.Spent();
        ASSERT_TRUE(spent.ok()) << spent.status();
        const double least =
            returned == 0
                ? 0
                : TotalEpsilon({{SiteCost(), double(returned)}}, 1e-5).epsilon;
        EXPECT_GE(*spent, least * (1 - 1e-12));
      }
    }
  }
}

}  // namespace
}  // namespace fedgraft
