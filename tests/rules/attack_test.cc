#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/rule.h"
#include "gtest/gtest.h"
#include "tests/rules/rule_bench.h"
#include "tests/support/status_matchers.h"

// Robust rules against the published attacks, ten sites of which up to three
// are hostile and know what the honest ones send. Two guarantees:
//   per-parameter rules: every value stays in the range of the honest ones;
//   Krum: the result is no further from the honest mean than honest updates are
//   from one another.

namespace fedgraft {
namespace {

using testing::IsOk;
using testing::PlanOf;
using testing::RuleBench;

using Update = std::vector<float>;
using Updates = std::vector<Update>;

constexpr int kSites = 10;
constexpr size_t kCount = 200;

Updates Honest(int sites, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> common(0, 0.1f), own(0, 0.05f);
  Update truth(kCount);
  for (float& value : truth) value = common(random);
  Updates updates;
  for (int k = 0; k < sites; ++k) {
    Update update = truth;
    for (float& value : update) value += own(random);
    updates.push_back(std::move(update));
  }
  return updates;
}

// Per parameter: mean and standard deviation of the honest updates.
struct Moments {
  std::vector<double> mean, deviation;
  explicit Moments(const Updates& updates)
      : mean(updates[0].size(), 0), deviation(updates[0].size(), 0) {
    const auto n = static_cast<double>(updates.size());
    for (size_t i = 0; i < mean.size(); ++i) {
      for (const Update& update : updates) mean[i] += update[i] / n;
      for (const Update& update : updates) {
        deviation[i] += std::pow(update[i] - mean[i], 2) / n;
      }
      deviation[i] = std::sqrt(deviation[i]);
    }
  }
};

template <typename A, typename B>
double Distance(const A& a, const B& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  }
  return std::sqrt(sum);
}

double LargestDistance(const Updates& updates) {
  double largest = 0;
  for (const Update& a : updates) {
    for (const Update& b : updates) {
      largest = std::max(largest, Distance(a, b));
    }
  }
  return largest;
}

Update Shifted(const Moments& honest, double of_mean, double of_deviation) {
  Update update(honest.mean.size());
  for (size_t i = 0; i < update.size(); ++i) {
    update[i] = static_cast<float>(of_mean * honest.mean[i] +
                                   of_deviation * honest.deviation[i]);
  }
  return update;
}

// Baruch et al. 2019: as far from the mean as the crowd makes credible.
double AlieFactor(int sites, int hostile) {
  const double s = std::floor(sites / 2.0) + 1 - hostile;
  const double p = (sites - hostile - s) / (sites - hostile);
  double low = -5, high = 5;  // the normal quantile of p
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return low;
}

// Shejwalkar and Houmansadr 2021: as far from the mean against the deviations
// as honest updates are from one another.
Update MinMax(const Updates& honest, const Moments& moments) {
  const double limit = LargestDistance(honest);
  double low = 0, high = 5;
  while (high - low > 0.01) {
    const double middle = (low + high) / 2;
    const Update candidate = Shifted(moments, 1, -middle);
    double furthest = 0;
    for (const Update& one : honest) {
      furthest = std::max(furthest, Distance(candidate, one));
    }
    (furthest <= limit ? low : high) = middle;
  }
  return Shifted(moments, 1, -low);
}

using Attack = std::function<Updates(const Updates& honest, int hostile)>;

Attack Same(const std::function<Update(const Updates&, int)>& make) {
  return [make](const Updates& honest, int hostile) {
    return Updates(static_cast<size_t>(hostile), make(honest, hostile));
  };
}

std::map<std::string, Attack> Attacks() {
  return {
      {"sign_flip",
       [](const Updates&, int hostile) {
         Updates updates = Honest(hostile, 77);
         for (Update& update : updates) {
           for (float& value : update) value = -value;
         }
         return updates;
       }},
      {"gaussian_noise",
       [](const Updates&, int hostile) {
         std::mt19937 random(5);
         std::normal_distribution<float> noise(0.1f, 0.1f);
         Updates updates(static_cast<size_t>(hostile), Update(kCount));
         for (Update& update : updates) {
           for (float& value : update) value = noise(random);
         }
         return updates;
       }},
      {"ipm_0.1", Same([](const Updates& honest, int) {
         return Shifted(Moments(honest), -0.1, 0);
       })},
      {"ipm_100", Same([](const Updates& honest, int) {
         return Shifted(Moments(honest), -100, 0);
       })},
      {"alie", Same([](const Updates& honest, int hostile) {
         return Shifted(Moments(honest), 1, -AlieFactor(kSites, hostile));
       })},
      {"min_max", Same([](const Updates& honest, int) {
         return MinMax(honest, Moments(honest));
       })},
  };
}

Plan RobustPlan(absl::string_view rule, int hostile) {
  Plan plan = PlanOf(rule, kSites);
  plan.update.range = 64;
  plan.rule.byzantine_max = hostile;
  plan.rule.trim_fraction = hostile / static_cast<double>(kSites);
  return plan;
}

// Of a start at 0: the update that the rule made of all.
Update Result(const Plan& plan, const Updates& honest, const Updates& hostile) {
  RuleBench bench(plan, honest[0].size());
  int site = 0;
  // Hostile sites first, in canonical order too.
  for (const Updates* updates : {&hostile, &honest}) {
    for (const Update& update : *updates) {
      bench.Add(absl::StrCat("site-", site++), update, 0.5);
    }
  }
  const auto result = bench.Reduce(Update(honest[0].size(), 0));
  EXPECT_THAT(result, IsOk());
  return result->next;
}

// How far a result lies outside of the range of honest values.
double Outside(const Update& result, const Updates& honest) {
  double worst = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    float low = honest[0][i], high = low;
    for (const Update& update : honest) {
      low = std::min(low, update[i]);
      high = std::max(high, update[i]);
    }
    worst = std::max<double>({worst, low - result[i], result[i] - high});
  }
  return worst;
}

constexpr double kGrid = 1e-5;  // twice a step of the ring, divided by weight

TEST(AttackTest, PerParameterRulesStayWithinHonestValues) {
  for (const auto& [name, attack] : Attacks()) {
    for (const int hostile : {1, 2, 3}) {
      const Updates honest = Honest(kSites - hostile, 11);
      for (const char* rule : {"median", "trimmed_mean"}) {
        const Update result =
            Result(RobustPlan(rule, hostile), honest, attack(honest, hostile));
        EXPECT_LT(Outside(result, honest), kGrid)
            << rule << " under " << name << " by " << hostile;
      }
    }
  }
}

TEST(AttackTest, KrumStaysAmongHonestUpdates) {
  for (const auto& [name, attack] : Attacks()) {
    for (const int hostile : {1, 2, 3}) {
      const Updates honest = Honest(kSites - hostile, 12);
      const Moments moments(honest);
      for (const char* rule : {"krum", "multi_krum"}) {
        const Update result =
            Result(RobustPlan(rule, hostile), honest, attack(honest, hostile));
        EXPECT_LT(Distance(result, moments.mean), LargestDistance(honest))
            << rule << " under " << name << " by " << hostile;
      }
    }
  }
}

// The mean is what the rules are compared to: one site can do anything.
TEST(AttackTest, OneSiteMovesTheMeanAtWill) {
  const Updates honest = Honest(kSites - 1, 11);
  const Updates hostile = Attacks().at("ipm_100")(honest, 1);
  const Update result = Result(RobustPlan("fed_avg", 1), honest, hostile);
  EXPECT_GT(Outside(result, honest), 1);
  EXPECT_GT(Distance(result, Moments(honest).mean), LargestDistance(honest));
}

// More hostile sites than the rule is made for: the guarantee ends where theory
// says that it does.
TEST(AttackTest, RulesBreakBeyondTheirBreakdownPoint) {
  const Attack attack = Attacks().at("ipm_100");
  const auto outside = [&](const Plan& plan, int hostile) {
    const Updates honest = Honest(kSites - hostile, 11);
    return Outside(Result(plan, honest, attack(honest, hostile)), honest);
  };
  EXPECT_LT(outside(RobustPlan("median", 1), 4), kGrid);
  EXPECT_GT(outside(RobustPlan("median", 1), 5), 1);
  EXPECT_LT(outside(RobustPlan("trimmed_mean", 2), 2), kGrid);
  EXPECT_GT(outside(RobustPlan("trimmed_mean", 2), 3), 1);
  // Two equal hostile updates are each other's neighbours, four outvote.
  const Updates honest = Honest(4, 11);
  const Update result =
      Result(RobustPlan("krum", 3), honest, attack(honest, 6));
  EXPECT_GT(Distance(result, Moments(honest).mean), 1);
}

// With groups, f hostile sites spoil at most f groups: more than 2 f hold.
TEST(AttackTest, TheMedianOfGroupsStandsUntilHalfOfThemAreSpoilt) {
  const Attack attack = Attacks().at("ipm_100");
  Plan plan = RobustPlan("median", 1);
  plan.rule.groups = 5;
  const auto outside = [&](int hostile) {
    const Updates honest = Honest(kSites - hostile, 11);
    return Outside(Result(plan, honest, attack(honest, hostile)), honest);
  };
  EXPECT_LT(outside(1), kGrid);
  EXPECT_LT(outside(2), kGrid);
  EXPECT_GT(outside(6), 0.1);
}

// Label flipping happens in the data: each site takes gradient steps on its own
// records, hostile ones with labels reversed.
class LabelFlipTest : public ::testing::Test {
 protected:
  static constexpr size_t kFeatures = 10;
  static constexpr int kRecords = 60, kRounds = 30;

  struct Record {
    Update x;
    float y;
  };
  using Records = std::vector<Record>;

  void SetUp() override {
    std::mt19937 random(3);
    std::normal_distribution<float> normal(0, 1);
    Update truth(kFeatures);
    for (float& value : truth) value = normal(random);
    for (int site = 0; site < kSites; ++site) {
      Records records;
      for (int r = 0; r < kRecords; ++r) {
        Record record{Update(kFeatures), 0};
        float score = 0.3f * normal(random);
        for (size_t i = 0; i < kFeatures; ++i) {
          record.x[i] = normal(random);
          score += truth[i] * record.x[i];
        }
        record.y = score > 0 ? 1 : 0;
        records.push_back(std::move(record));
      }
      sites_.push_back(std::move(records));
    }
  }
  static double Predict(const Update& model, const Record& record) {
    double score = 0;
    for (size_t i = 0; i < kFeatures; ++i) score += model[i] * record.x[i];
    return 1 / (1 + std::exp(-score));
  }
  static Update Step(const Update& model, const Records& records, bool flip) {
    Update update(kFeatures, 0);
    for (const Record& record : records) {
      const double y = flip ? 1 - record.y : record.y;
      const double residual = y - Predict(model, record);
      for (size_t i = 0; i < kFeatures; ++i) {
        update[i] += static_cast<float>(residual * record.x[i] / kRecords);
      }
    }
    return update;
  }
  // On the honest sites' records, after training.
  double Accuracy(const Plan& plan, int hostile) const {
    Update model(kFeatures, 0);
    for (int round = 0; round < kRounds; ++round) {
      RuleBench bench(plan, kFeatures);
      for (int site = 0; site < kSites; ++site) {
        bench.Add(
            absl::StrCat("site-", site),
            Step(model, sites_[static_cast<size_t>(site)], site < hostile));
      }
      const auto result = bench.Reduce(model);
      EXPECT_THAT(result, IsOk());
      model = result->next;
    }
    int right = 0, all = 0;
    for (size_t site = static_cast<size_t>(hostile); site < sites_.size();
         ++site) {
      for (const Record& record : sites_[site]) {
        right += (Predict(model, record) > 0.5) == (record.y > 0.5f) ? 1 : 0;
        ++all;
      }
    }
    return static_cast<double>(right) / all;
  }

  std::vector<Records> sites_;
};

TEST_F(LabelFlipTest, RobustRulesLearnWhatTheHonestSitesTeach) {
  const double clean = Accuracy(RobustPlan("fed_avg", 0), 0);
  ASSERT_GT(clean, 0.9);
  for (const char* rule : {"median", "trimmed_mean", "krum", "multi_krum"}) {
    for (const int hostile : {1, 2, 3}) {
      EXPECT_GT(Accuracy(RobustPlan(rule, hostile), hostile), clean - 0.05)
          << rule << " with " << hostile;
    }
  }
  // Seven of ten teach the opposite: no rule can know.
  EXPECT_LT(Accuracy(RobustPlan("median", 3), 7), 0.5);
}

// A hospital whose patients differ is not hostile. Its update is shifted in a
// quarter of the parameters by several times the spread of the others.
class ShiftedSiteTest : public ::testing::Test {
 protected:
  double Influence(const Plan& plan) const {
    Updates updates = Honest(kSites, 21);
    for (size_t i = 0; i < kCount / 4; ++i) updates[0][i] += 0.2f;
    RuleBench bench(plan, kCount);
    for (int site = 0; site < kSites; ++site) {
      bench.Add(absl::StrCat("site-", site),
                updates[static_cast<size_t>(site)]);
    }
    const auto result = bench.Reduce(Update(kCount, 0));
    EXPECT_THAT(result, IsOk());
    return result->influence.at({"site-0"});
  }
};

TEST_F(ShiftedSiteTest, PerParameterRulesKeepMostOfItsPart) {
  EXPECT_GT(Influence(RobustPlan("median", 1)), 0.6);
  EXPECT_GT(Influence(RobustPlan("trimmed_mean", 1)), 0.6);
}

TEST_F(ShiftedSiteTest, GroupsMixItWithOthers) {
  Plan plan = RobustPlan("median", 1);
  plan.rule.groups = 5;
  EXPECT_GT(Influence(plan), 0.6);
}

// What selects whole updates leaves it out, and must say so.
TEST_F(ShiftedSiteTest, KrumReportsThatItUsedNothing) {
  EXPECT_EQ(Influence(RobustPlan("krum", 1)), 0);
  EXPECT_EQ(Influence(RobustPlan("multi_krum", 1)), 0);
}

}  // namespace
}  // namespace fedgraft
