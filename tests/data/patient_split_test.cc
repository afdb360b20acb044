#include "client/data/patient_split.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/data/seeded_random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// 300 images of 100 patients, a third of them of class 1.
std::vector<SplitCandidate> Candidates() {
  std::vector<SplitCandidate> candidates;
  SeededRandom random(5);
  for (int patient = 0; patient < 100; ++patient) {
    const uint64_t images = 1 + random.Below(5);
    for (uint64_t i = 0; i < images; ++i) {
      candidates.push_back({"p" + std::to_string(patient), patient % 3 == 0});
    }
  }
  return candidates;
}

TEST(PatientSplitTest, NoPatientIsInTwoSplits) {
  const auto candidates = Candidates();
  const auto splits = SplitByPatient(candidates, {0.15, 0.25, 1});
  std::map<std::string, std::set<Split>> splits_of;
  for (size_t i = 0; i < candidates.size(); ++i) {
    splits_of[candidates[i].patient].insert(splits[i]);
  }
  for (const auto& [patient, found] : splits_of) EXPECT_EQ(found.size(), 1u);
}

TEST(PatientSplitTest, FractionsHoldInEachClass) {
  const auto candidates = Candidates();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto splits = SplitByPatient(candidates, {0.15, 0.25, seed});
    for (const int label : {0, 1}) {
      std::map<Split, double> count;
      double all = 0;
      for (size_t i = 0; i < candidates.size(); ++i) {
        if (candidates[i].label != label) continue;
        ++count[splits[i]];
        ++all;
      }
      // Within half of the largest patient (5 images) of what is asked for.
      EXPECT_NEAR(count[Split::kTest], 0.25 * all, 2.5);
      EXPECT_NEAR(count[Split::kVal], 0.15 * all, 2.5);
    }
  }
}

TEST(PatientSplitTest, DependsOnSeedAndPatientsButNotOnRowOrder) {
  auto candidates = Candidates();
  const auto first = SplitByPatient(candidates, {0.15, 0.25, 1});
  std::map<std::string, Split> split_of;
  for (size_t i = 0; i < candidates.size(); ++i) {
    split_of[candidates[i].patient] = first[i];
  }
  std::reverse(candidates.begin(), candidates.end());
  const auto reversed = SplitByPatient(candidates, {0.15, 0.25, 1});
  for (size_t i = 0; i < candidates.size(); ++i) {
    EXPECT_EQ(reversed[i], split_of[candidates[i].patient]);
  }
  EXPECT_NE(SplitByPatient(candidates, {0.15, 0.25, 2}), reversed);
}

// Fixed by the reference values of HashText: order of p0..p3 under seed 0.
TEST(PatientSplitTest, IsTheSameOnEveryPlatform) {
  std::vector<SplitCandidate> candidates;
  std::vector<std::pair<uint64_t, size_t>> order;
  for (size_t i = 0; i < 8; ++i) {
    candidates.push_back({"p" + std::to_string(i), 0});
    order.push_back({HashText(0, candidates[i].patient), i});
  }
  std::sort(order.begin(), order.end());
  const auto splits = SplitByPatient(candidates, {0.25, 0.25, 0});
  for (size_t rank = 0; rank < 8; ++rank) {
    const Split expected = rank < 2   ? Split::kTest
                           : rank < 4 ? Split::kVal
                                      : Split::kTrain;
    EXPECT_EQ(splits[order[rank].second], expected);
  }
}

TEST(PatientSplitTest, SmallAndEmptyInputs) {
  EXPECT_TRUE(SplitByPatient({}, {0.2, 0.2, 0}).empty());
  EXPECT_THAT(SplitByPatient({{"a", 0}}, {0.2, 0.3, 0}),
              ::testing::ElementsAre(Split::kTrain));
  EXPECT_THAT(SplitByPatient({{"a", 0}, {"b", 0}}, {0, 0, 0}),
              ::testing::Each(Split::kTrain));
}

}  // namespace
}  // namespace fedgraft
