#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/rules/rule.h"
#include "common/numeric/update_payload.h"
#include "gtest/gtest.h"

// What every rule of the registry must keep. A new rule is tested by being on
// the list.

namespace fedgraft {
namespace {

constexpr int kSites = 5;
constexpr size_t kCount = 1003;

struct Contribution {
  Bytes packed;
  uint64_t weight_word;
};

class RuleConformanceTest : public ::testing::TestWithParam<RuleEntry> {
 protected:
  void SetUp() override {
    plan_.rule.kind = std::string(GetParam().name);
    plan_.quorum = plan_.expected_sites = kSites;
    ring_ = *TrainRing(plan_);
    rule_ = *MakeRule(plan_);
    std::mt19937 random(99);
    std::normal_distribution<float> normal(0, 0.1f);
    previous_.resize(kCount);
    for (float& value : previous_) value = normal(random);
    for (int site = 0; site < kSites; ++site) {
      std::vector<float> update(kCount);
      for (float& value : update) value = normal(random);
      const uint64_t word = WeightWord((site + 1) / 8.0);
      const auto quantized =
          Quantize(ring_, MaxTerms(plan_), update, WeightOfWord(word));
      Contribution contribution{Bytes(PackedBytes(ring_.word_bits, kCount)),
                                word};
      PackWords(ring_.word_bits, quantized->words,
                absl::MakeSpan(contribution.packed));
      contributions_.push_back(std::move(contribution));
    }
  }

  // Sums in the vector's order, applies in shards of this size.
  std::vector<float> Reduce(size_t shard) const {
    std::vector<uint64_t> words(kCount, 0);
    uint64_t weight = 0;
    for (const Contribution& contribution : contributions_) {
      AddPacked(ring_.word_bits, contribution.packed, absl::MakeSpan(words));
      weight += contribution.weight_word;
    }
    std::vector<float> next(kCount);
    for (size_t from = 0; from < kCount; from += shard) {
      const size_t n = std::min(shard, kCount - from);
      const ShardSum sum{ring_, absl::MakeSpan(words).subspan(from, n), weight,
                         kSites, absl::MakeSpan(previous_).subspan(from, n)};
      EXPECT_TRUE(
          rule_->Apply(sum, absl::MakeSpan(next).subspan(from, n)).ok());
    }
    return next;
  }

  Plan plan_;
  RingSpec ring_;
  std::unique_ptr<AggregationRule> rule_;
  std::vector<float> previous_;
  std::vector<Contribution> contributions_;
};

TEST_P(RuleConformanceTest, HasTheNameItIsRegisteredBy) {
  EXPECT_EQ(rule_->Name(), GetParam().name);
}

TEST_P(RuleConformanceTest, DoesNotDependOnOrder) {
  const std::vector<float> expected = Reduce(kCount);
  std::mt19937 random(1);
  for (int i = 0; i < 5; ++i) {
    std::shuffle(contributions_.begin(), contributions_.end(), random);
    EXPECT_EQ(Reduce(kCount), expected);
  }
}

TEST_P(RuleConformanceTest, DoesNotDependOnShardSize) {
  const std::vector<float> expected = Reduce(kCount);
  for (size_t shard : {1, 7, 64, 1002}) EXPECT_EQ(Reduce(shard), expected);
}

TEST_P(RuleConformanceTest, KeepsNothingBetweenCalls) {
  const std::vector<float> expected = Reduce(kCount);
  const float first = std::exchange(previous_[0], 7.0f);
  EXPECT_NE(Reduce(kCount), expected);
  previous_[0] = first;
  EXPECT_EQ(Reduce(kCount), expected);
}

TEST_P(RuleConformanceTest, IgnoresCarryAboveTheRing) {
  std::vector<uint64_t> words = {5, 6};
  const std::vector<float> previous = {1, 2};
  const uint64_t weight = WeightWord(1);
  std::vector<float> low(2), high(2);
  ASSERT_TRUE(
      rule_->Apply({ring_, words, weight, 1, previous}, absl::MakeSpan(low))
          .ok());
  for (uint64_t& word : words) word |= uint64_t{0xabcd} << ring_.word_bits;
  ASSERT_TRUE(
      rule_->Apply({ring_, words, weight, 1, previous}, absl::MakeSpan(high))
          .ok());
  EXPECT_EQ(low, high);
}

TEST_P(RuleConformanceTest, NoUpdateMeansNoChange) {
  const std::vector<uint64_t> words(3, 0);
  const std::vector<float> previous = {1, -2, 0.5f};
  std::vector<float> next(3);
  ASSERT_TRUE(rule_
                  ->Apply({ring_, words, WeightWord(0.5), 2, previous},
                          absl::MakeSpan(next))
                  .ok());
  EXPECT_EQ(next, previous);
}

TEST_P(RuleConformanceTest, RefusesWhatCannotBeReducedAndLeavesNextAlone) {
  const std::vector<uint64_t> words(3, 1);
  const std::vector<float> previous = {1, 2, 3};
  const uint64_t weight = WeightWord(1);
  const ShardSum bad[] = {
      {ring_, words, 0, 2, previous},       // no weight
      {ring_, words, weight, 0, previous},  // nobody
      {ring_, absl::MakeSpan(words).first(2), weight, 2, previous},
      {ring_, words, weight, 2, absl::MakeSpan(previous).first(2)},
  };
  for (const ShardSum& sum : bad) {
    std::vector<float> next = {7, 8, 9};
    EXPECT_TRUE(
        absl::IsInvalidArgument(rule_->Apply(sum, absl::MakeSpan(next))));
    EXPECT_EQ(next, (std::vector<float>{7, 8, 9}));
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, RuleConformanceTest,
                         ::testing::ValuesIn(AllRules()), [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(RuleRegistryTest, UnknownRuleNamesTheKnownOnes) {
  Plan plan;
  plan.rule.kind = "fed_sum";
  const auto rule = MakeRule(plan);
  ASSERT_TRUE(absl::IsInvalidArgument(rule.status()));
  EXPECT_NE(rule.status().message().find("fed_avg"), absl::string_view::npos);
}

}  // namespace
}  // namespace fedgraft
