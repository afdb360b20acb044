#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/rule.h"
#include "common/config/rule_facts.h"
#include "common/model/control_variates.h"
#include "common/numeric/update_payload.h"
#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

// What every rule of the registry must keep. A new rule is tested by being on
// the list.

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;
using testing::ShardOrder;

constexpr int kSites = 7;
constexpr size_t kWeights = 1003, kStatistics = 20;

// Statistics lie before the weights, so that shards cut between them.
ParameterLayout LayoutOf(const RuleSpec& rule) {
  const auto statistics = static_cast<int64_t>(kStatistics);
  const ParameterLayout layout = *ParameterLayout::Create(
      {{"bn.running_mean", {statistics}, TensorKind::kBatchNormMean},
       {"bn.running_var", {statistics}, TensorKind::kBatchNormVar},
       {"fc.weight", {static_cast<int64_t>(kWeights)}, TensorKind::kWeight}});
  return HasControlVariates(rule) ? *AddControlVariates(layout) : layout;
}

struct SiteUpdate {
  std::string site;
  std::vector<float> update;
  double weight;
};

class RuleConformanceTest : public ::testing::TestWithParam<RuleEntry> {
 protected:
  void SetUp() override {
    plan_ = PlanOf(GetParam().name, kSites);
    rule_ = *MakeRule(plan_);
    std::mt19937 random(99);
    std::normal_distribution<float> normal(0, 0.1f);
    layout_ = LayoutOf(plan_.rule);
    count_ = static_cast<size_t>(layout_.Count());
    previous_.resize(count_);
    for (float& value : previous_) value = normal(random);
    for (int site = 0; site < kSites; ++site) {
      std::vector<float> update(count_);
      for (float& value : update) value = normal(random);
      updates_.push_back(
          {absl::StrCat("site-", site), std::move(update), (site + 1) / 8.0});
    }
  }

  RuleBench::Result Reduce(const ShardOrder& order = {},
                           ByteSpan state = {}) const {
    RuleBench bench(plan_, layout_);
    for (const SiteUpdate& one : updates_) {
      bench.Add(one.site, one.update, one.weight);
    }
    const auto result = bench.Reduce(previous_, state, order);
    EXPECT_THAT(result, IsOk());
    return *result;
  }
  void ExpectSame(const RuleBench::Result& a, const RuleBench::Result& b) {
    EXPECT_EQ(a.next, b.next);
    EXPECT_EQ(a.state, b.state);
    EXPECT_EQ(a.influence, b.influence);
  }

  Plan plan_;
  ParameterLayout layout_;
  size_t count_ = 0;
  std::unique_ptr<AggregationRule> rule_;
  std::vector<float> previous_;
  std::vector<SiteUpdate> updates_;
};

TEST_P(RuleConformanceTest, HasTheNameItIsRegisteredBy) {
  EXPECT_EQ(rule_->Name(), GetParam().name);
}

TEST_P(RuleConformanceTest, IsOnSumsOrOnUpdates) {
  EXPECT_NE(rule_->AsSum() == nullptr, rule_->AsRobust() == nullptr);
}

TEST_P(RuleConformanceTest, MovesTheModel) {
  EXPECT_NE(Reduce().next, previous_);
}

TEST_P(RuleConformanceTest, DoesNotDependOnTheOrderOfArrival) {
  const RuleBench::Result expected = Reduce();
  std::mt19937 random(1);
  for (int i = 0; i < 5; ++i) {
    std::shuffle(updates_.begin(), updates_.end(), random);
    ExpectSame(Reduce(), expected);
  }
}

TEST_P(RuleConformanceTest, DoesNotDependOnShards) {
  const RuleBench::Result expected = Reduce();
  for (const size_t words : {1, 7, 64, 1002}) {
    ExpectSame(Reduce({words}), expected);
    ExpectSame(Reduce({words, /*backwards=*/true}), expected);
    ExpectSame(Reduce({words, /*backwards=*/false, /*threads=*/3}), expected);
  }
}

TEST_P(RuleConformanceTest, KeepsNothingBetweenRoundsButItsState) {
  const RuleBench::Result first = Reduce();
  const float value = std::exchange(previous_[0], 7.0f);
  EXPECT_NE(Reduce().next, first.next);
  previous_[0] = value;
  ExpectSame(Reduce(), first);
}

// A crash after any round: whoever goes on has the model and the state's bytes.
TEST_P(RuleConformanceTest, GoesOnFromTheBytesOfItsState) {
  const RuleBench::Result first = Reduce();
  const bool has_state =
      rule_->AsSum() != nullptr && rule_->AsSum()->StateSlots() > 0;
  EXPECT_EQ(has_state, !first.state.empty());
  if (!has_state) return;
  previous_ = first.next;
  const RuleBench::Result second = Reduce({}, first.state);
  ExpectSame(Reduce({17}, first.state), second);
  EXPECT_NE(second.state, first.state);
  // The memory counts.
  EXPECT_NE(Reduce().next, second.next);
}

TEST_P(RuleConformanceTest, RefusesAnotherRulesState) {
  RuleBench bench(plan_, layout_);
  for (const SiteUpdate& one : updates_) bench.Add(one.site, one.update);
  const Bytes foreign = RuleState(5, count_).Encode();
  const auto result = bench.Reduce(previous_, foreign);
  if (rule_->AsSum() != nullptr) {
    EXPECT_THAT(result, HasCode(absl::StatusCode::kDataLoss));
  } else {
    EXPECT_THAT(result, IsOk());
  }
}

TEST_P(RuleConformanceTest, NoUpdateMeansNoChange) {
  for (SiteUpdate& one : updates_) one.update.assign(count_, 0);
  EXPECT_EQ(Reduce().next, previous_);
}

// Running means are means: neither the server's learning rate nor its memory
// may touch them.
TEST_P(RuleConformanceTest, AStatisticsRuleAveragesWhatIsNoParameter) {
  for (SiteUpdate& one : updates_) one.update.assign(count_, 0.25f);
  plan_.rule.server_learning_rate = 0.5;
  const RuleBench::Result result = Reduce();
  for (size_t i = 0; i < 2 * kStatistics; ++i) {
    EXPECT_NEAR(result.next[i], previous_[i] + 0.25f, 1e-6) << i;
  }
  const size_t weight = 2 * kStatistics;
  EXPECT_GT(std::abs(result.next[weight] - previous_[weight] - 0.25f), 0.05f);
}

// What the plan's checks believe of a rule.
TEST_P(RuleConformanceTest, PlansKnowWhetherItNeedsSingleUpdates) {
  EXPECT_EQ(IsRobustRule(plan_.rule), rule_->AsSum() == nullptr);
}

TEST_P(RuleConformanceTest, InfluenceIsOneOnTheAverage) {
  const auto influence = Reduce().influence;
  if (rule_->AsSum() != nullptr) {
    EXPECT_TRUE(influence.empty());
    return;
  }
  double sum = 0;
  for (const auto& [site, share] : influence) sum += share;
  EXPECT_EQ(influence.size(), static_cast<size_t>(kSites));
  EXPECT_NEAR(sum, kSites, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Registry, RuleConformanceTest,
                         ::testing::ValuesIn(AllRules()), [](const auto& info) {
                           return std::string(info.param.name);
                         });

std::vector<RuleEntry> RulesOn(bool sums) {
  std::vector<RuleEntry> rules;
  for (const RuleEntry& entry : AllRules()) {
    const auto rule = *MakeRule(PlanOf(entry.name, kSites));
    if ((rule->AsSum() != nullptr) == sums) rules.push_back(entry);
  }
  return rules;
}

std::string NameOf(const ::testing::TestParamInfo<RuleEntry>& info) {
  return std::string(info.param.name);
}

class SumRuleConformanceTest : public ::testing::TestWithParam<RuleEntry> {
 protected:
  void SetUp() override {
    const Plan plan = PlanOf(GetParam().name, kSites);
    ring_ = *TrainRing(plan);
    rule_ = *MakeRule(plan);
    slots_.assign(static_cast<size_t>(rule_->AsSum()->StateSlots()),
                  std::vector<float>(3, 0.5f));
    scalars_.assign(static_cast<size_t>(ExtraWords(plan.rule)), 1000);
  }
  ShardSum Shard(const std::vector<uint64_t>& words,
                 const std::vector<float>& previous) {
    spans_.clear();
    for (std::vector<float>& slot : slots_) {
      spans_.push_back(absl::MakeSpan(slot).first(words.size()));
    }
    return {ring_, words, WeightWord(1), 2, previous, spans_, scalars_};
  }

  RingSpec ring_;
  std::unique_ptr<AggregationRule> rule_;
  std::vector<std::vector<float>> slots_;
  std::vector<absl::Span<float>> spans_;
  std::vector<uint64_t> scalars_;
};

TEST_P(SumRuleConformanceTest, IgnoresCarryAboveTheRing) {
  std::vector<uint64_t> words = {5, 6, 7};
  const std::vector<float> previous = {1, 2, 3};
  const auto slots = slots_;
  std::vector<float> low(3), high(3);
  ASSERT_THAT(
      rule_->AsSum()->Apply(Shard(words, previous), absl::MakeSpan(low)),
      IsOk());
  const auto low_slots = std::exchange(slots_, slots);
  for (uint64_t& word : words) word |= uint64_t{0xabcd} << ring_.word_bits;
  ASSERT_THAT(
      rule_->AsSum()->Apply(Shard(words, previous), absl::MakeSpan(high)),
      IsOk());
  EXPECT_EQ(low, high);
  EXPECT_EQ(low_slots, slots_);
}

TEST_P(SumRuleConformanceTest, RefusesWhatCannotBeReducedAndChangesNothing) {
  const std::vector<uint64_t> words(3, 1), short_words(2, 1);
  const std::vector<float> previous = {1, 2, 3}, short_previous = {1, 2};
  const auto slots = slots_;
  std::vector<ShardSum> bad(5, Shard(words, previous));
  bad[0].total_weight_word = 0;
  bad[1].contributions = 0;
  bad[2].words = short_words;
  bad[3].previous = short_previous;
  std::vector<absl::Span<float>> more = spans_;
  more.push_back({});
  bad[4].state = more;
  for (const ShardSum& sum : bad) {
    std::vector<float> next = {7, 8, 9};
    EXPECT_THAT(rule_->AsSum()->Apply(sum, absl::MakeSpan(next)),
                HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(next, (std::vector<float>{7, 8, 9}));
    EXPECT_EQ(slots_, slots);
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, SumRuleConformanceTest,
                         ::testing::ValuesIn(RulesOn(true)), NameOf);

class RobustRuleConformanceTest : public ::testing::TestWithParam<RuleEntry> {
 protected:
  void SetUp() override { rule_ = *MakeRule(PlanOf(GetParam().name, kSites)); }
  std::unique_ptr<AggregationRule> rule_;
};

TEST_P(RobustRuleConformanceTest, RefusesWhatCannotBeReducedAndChangesNothing) {
  const std::vector<double> one(3, 1), cut(2, 1);
  const std::vector<float> previous = {1, 2, 3};
  const std::vector<absl::Span<const double>> none, uneven = {one, one, cut},
                                                    good = {one, one, one};
  const auto refuses = [&](const ShardUpdates& shard, size_t counts) {
    std::vector<float> next = {7, 8, 9};
    std::vector<uint64_t> kept(counts, 4);
    EXPECT_THAT(rule_->AsRobust()->Apply(shard, absl::MakeSpan(next),
                                         absl::MakeSpan(kept)),
                HasCode(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(next, (std::vector<float>{7, 8, 9}));
    EXPECT_EQ(kept, std::vector<uint64_t>(counts, 4));
  };
  refuses({none, previous}, 0);
  refuses({uneven, previous}, 3);
  refuses({good, absl::MakeConstSpan(previous).first(2)}, 3);
  refuses({good, previous}, 2);
}

// The weight is what a hostile site would lie about.
TEST_P(RobustRuleConformanceTest, DoesNotWeighUpdates) {
  const Plan plan = PlanOf(GetParam().name, kSites);
  const std::vector<float> previous(2, 0);
  std::vector<std::vector<float>> results;
  for (const double weight : {1.0, 0.25}) {
    RuleBench bench(plan, previous.size());
    for (int site = 0; site < kSites; ++site) {
      // On the grid for both weights.
      const auto value = static_cast<float>(site * site) / 64;
      bench.Add(absl::StrCat("site-", site), {value, 1 - value},
                site == 0 ? 1 : weight);
    }
    const auto result = bench.Reduce(previous);
    ASSERT_THAT(result, IsOk());
    results.push_back(result->next);
  }
  EXPECT_EQ(results[0], results[1]);
}

INSTANTIATE_TEST_SUITE_P(Registry, RobustRuleConformanceTest,
                         ::testing::ValuesIn(RulesOn(false)), NameOf);

TEST(RuleRegistryTest, UnknownRuleNamesTheKnownOnes) {
  Plan plan;
  plan.rule.kind = "fed_sum";
  const auto rule = MakeRule(plan);
  ASSERT_TRUE(absl::IsInvalidArgument(rule.status()));
  EXPECT_NE(rule.status().message().find("fed_avg"), absl::string_view::npos);
}

}  // namespace
}  // namespace fedgraft
