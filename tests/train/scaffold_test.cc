#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/data/feature_source.h"
#include "client/data/seeded_random.h"
#include "client/train/path_io.h"
#include "client/train/session.h"
#include "common/config/identity.h"
#include "common/model/backbone_file.h"
#include "common/model/control_variates.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/system_clock.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

// Rule scaffold through whole sessions of sites that have feature vectors, with
// the server's part written down here.

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;
using testing::Silent;

constexpr int kDim = 4, kClassCount = 3;
constexpr size_t kParameters = kClassCount * (kDim + 1);
const std::vector<std::string> kClasses = {"a", "b", "c"};

struct Records {
  std::vector<std::vector<float>> features;
  std::vector<int> labels;
};

Plan ScaffoldPlan() {
  Plan plan = testing::SmallPlan();
  plan.classes = kClasses;
  plan.architecture = kIdentity;
  plan.feature_dim = kDim;
  plan.rule.kind = "scaffold";
  plan.rounds = 100;
  plan.local_epochs = 2;
  plan.batch_size = 6;
  plan.optimizer.learning_rate = 0.2;
  plan.optimizer.momentum = 0;
  plan.update.weighting = Weighting::kUniform;
  return plan;
}

class ScaffoldTest : public ::testing::Test {
 protected:
  void Start(const Plan& plan) {
    plan_ = plan;
    const SafetensorsFile none = *OpenBackbone(plan, "");
    layout_ = *TrainableLayout(plan, none);
    x_ = ParameterVector(kParameters);
    for (size_t i = 0; i < x_.size(); ++i) {
      x_[i] = static_cast<float>(0.1 * std::sin(static_cast<double>(i)));
    }
    c_ = ParameterVector(kParameters, 0.0f);
    counted_.clear();
    round_ = 0;
  }
  absl::StatusOr<std::unique_ptr<TrainerSession>> TryOpen(
      const Records& records, const std::string& state) {
    FeatureSet set;
    set.dim = kDim;
    for (const Split split : {Split::kTrain, Split::kVal}) {
      for (size_t i = 0; i < records.labels.size(); ++i) {
        set.samples[split].push_back(
            {records.labels[i], "",
             std::to_string(static_cast<int>(split) * 1000 + i)});
        set.Values(split).insert(set.Values(split).end(),
                                 records.features[i].begin(),
                                 records.features[i].end());
      }
    }
    SessionConfig config;
    config.plan = plan_;
    config.data = *MakeFeatureSource(std::move(set), "records",
                                     {kClasses, DataUse::kTrain});
    config.compute = {"cpu", 1, "none"};
    if (!state.empty()) config.state_dir = folder_.File(state);
    return TrainerSession::Create(std::move(config), clock_);
  }
  std::unique_ptr<TrainerSession> Open(const Records& records,
                                       const std::string& state) {
    auto session = TryOpen(records, state);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }
  // The published set, and what the site makes of it.
  absl::StatusOr<ParameterVector> TryTrain(TrainerSession& session, int round,
                                           int counted) {
    const ControlVariates place(layout_);
    const std::string delta = folder_.File("delta");
    const ParameterVector set = place.count() > 0 ? place.Join(x_, c_) : x_;
    EXPECT_THAT(WriteFile(model_, EncodeTrainableSet(layout_, set)), IsOk());
    const auto trained = session.RunTrain(
        {round, model_, delta, "", SiteRemedy::kNone, counted}, Silent);
    if (!trained.ok()) return trained.status();
    return testing::ReadDelta(delta);
  }
  ParameterVector Train(TrainerSession& session, int round, int counted) {
    const auto update = TryTrain(session, round, counted);
    EXPECT_THAT(update, IsOk());
    return *update;
  }
  // A round over these sites, of `of` in the run.
  void Round(const std::vector<TrainerSession*>& sites, double of) {
    ++round_;
    const ControlVariates place(layout_);
    std::vector<double> dx(kParameters, 0), dc(kParameters, 0);
    for (TrainerSession* site : sites) {
      const ParameterVector update = Train(*site, round_, counted_[site]);
      const ParameterVector change = place.Of(update);
      const ParameterVector delta = place.Rest(update);
      for (size_t i = 0; i < kParameters; ++i) {
        dx[i] += delta[i] / static_cast<double>(sites.size());
        if (!change.empty()) dc[i] += change[i] / of;
      }
      counted_[site] = round_;
    }
    for (size_t i = 0; i < kParameters; ++i) {
      x_[i] = static_cast<float>(x_[i] + dx[i]);
      c_[i] = static_cast<float>(c_[i] + dc[i]);
    }
  }
  // c_k as the site keeps it after a round.
  ParameterVector Kept(const std::string& state, int round) {
    const std::string path = folder_.File(state) + "/control/0000000" +
                             std::to_string(round) + ".safetensors";
    const Bytes content = *ReadFile(path);
    const Plan& plan = plan_;
    const SafetensorsFile none = *OpenBackbone(plan, "");
    return *DecodeTrainableSet(*TravellingParameters(plan, none), content);
  }

  testing::TempFolder folder_;
  std::string model_ = folder_.File("model.safetensors");
  SystemClock clock_;
  Plan plan_;
  ParameterLayout layout_;
  ParameterVector x_, c_;
  std::map<TrainerSession*, int> counted_;
  int round_ = 0;
};

Records Of(int count, const std::vector<int>& labels,
           double (*feature)(int, int)) {
  Records records;
  for (int i = 0; i < count; ++i) {
    std::vector<float>& row = records.features.emplace_back();
    for (int k = 0; k < kDim; ++k) {
      row.push_back(static_cast<float>(feature(i, k)));
    }
    records.labels.push_back(labels[static_cast<size_t>(i) % labels.size()]);
  }
  return records;
}

// No site's result depends on the order of its records: two take a step on all
// of theirs at once, the third has twelve times the same.
std::vector<Records> ThreeSites() {
  return {Of(4, {0, 1, 0, 2},
             [](int i, int k) { return std::sin(0.9 * i + 1.7 * k + 0.5); }),
          Of(6, {1, 1, 2, 1, 0, 1},
             [](int i, int k) { return std::cos(1.3 * i + 0.6 * k) + 0.5; }),
          Of(12, {2}, [](int, int k) { return 1.0 - 0.4 * k; })};
}

// Algorithm 1 with option II in numpy, float64: softmax regression on
// ThreeSites, batches of 6, two epochs (2, 2 and 4 steps), rate 0.2 and half of
// that for the bias; rounds of the sites {1,2,3}, {1,2}, {1,2,3}, {2,3}.
constexpr double kX[] = {-0.0691561, 0.0244858,  0.2197472,  -0.0919588,
                         -0.0762061, -0.1501210, 0.0489139,  0.0400573,
                         0.1277591,  0.0192913,  -0.0011610, 0.0317131,
                         -0.0819548, 0.1181659,  -0.0310358};
constexpr double kC[] = {0.0495614,  0.0422868,  -0.0918482, 0.0325288,
                         -0.0136636, 0.0235339,  -0.0366605, -0.0059078,
                         -0.0262942, 0.0075098,  -0.0240659, -0.0266209,
                         0.0399578,  -0.0310437, 0.0607263};

TEST_F(ScaffoldTest, IsTheReferenceWithRatesOfTheirOwnAndSitesThatMissRounds) {
  Plan plan = ScaffoldPlan();
  plan.layer_rates.kind = LayerRateKind::kGroups;
  plan.layer_rates.groups = {{"head.bias", 0.5}};
  Start(plan);
  std::vector<std::unique_ptr<TrainerSession>> sites;
  for (const Records& records : ThreeSites()) {
    sites.push_back(Open(records, std::to_string(sites.size())));
  }
  TrainerSession* const a = sites[0].get();
  TrainerSession* const b = sites[1].get();
  TrainerSession* const c = sites[2].get();
  for (const auto& round : std::vector<std::vector<TrainerSession*>>{
           {a, b, c}, {a, b}, {a, b, c}, {b, c}}) {
    Round(round, 3);
  }
  for (size_t i = 0; i < kParameters; ++i) {
    EXPECT_NEAR(x_[i], kX[i], 1e-5) << i;
    EXPECT_NEAR(c_[i], kC[i], 1e-5) << i;
  }
  // The mean of what the sites keep.
  const ParameterVector of_a = Kept("0", 3), of_b = Kept("1", 4),
                        of_c = Kept("2", 4);
  for (size_t i = 0; i < kParameters; ++i) {
    EXPECT_NEAR(c_[i], (of_a[i] + of_b[i] + of_c[i]) / 3, 1e-6) << i;
  }
}

TEST_F(ScaffoldTest, TheFirstRoundIsThatOfFedAvg) {
  ParameterVector next[2];
  for (const char* rule : {"fed_avg", "scaffold"}) {
    Plan plan = ScaffoldPlan();
    plan.rule.kind = rule;
    Start(plan);
    std::vector<std::unique_ptr<TrainerSession>> sites;
    std::vector<TrainerSession*> all;
    for (const Records& records : ThreeSites()) {
      sites.push_back(
          Open(records, std::string(rule) + std::to_string(sites.size())));
      all.push_back(sites.back().get());
    }
    Round(all, 3);
    next[plan.rule.kind == "scaffold"] = x_;
  }
  for (size_t i = 0; i < kParameters; ++i) {
    EXPECT_NEAR(next[0][i], next[1][i], 1e-6) << i;
  }
}

// Three sites of 60 records, each with mostly one class and features moved by
// the site.
std::vector<Records> HeterogeneousSites() {
  std::vector<Records> sites;
  for (int site = 0; site < 3; ++site) {
    SeededRandom random({static_cast<uint64_t>(site) + 1});
    Records& records = sites.emplace_back();
    for (int i = 0; i < 60; ++i) {
      const int label = i % 6 == 0 ? (site + 1 + i / 6 % 2) % 3 : site;
      records.labels.push_back(label);
      std::vector<float>& row = records.features.emplace_back();
      for (int k = 0; k < kDim; ++k) {
        row.push_back(static_cast<float>(4 * random.Uniform() - 2 +
                                         (k == label ? 1 : 0) +
                                         (k == site + 1 ? 1 : 0)));
      }
    }
  }
  return sites;
}

// Minimum of the mean over all records, by steps of plain gradient descent.
std::vector<double> PooledOptimum(const std::vector<Records>& sites,
                                  double weight_decay) {
  std::vector<double> y(kParameters, 0);
  for (int step = 0; step < 20000; ++step) {
    std::vector<double> gradient(kParameters, 0);
    for (const Records& records : sites) {
      for (size_t r = 0; r < records.labels.size(); ++r) {
        double scores[kClassCount], total = 0;
        for (int c = 0; c < kClassCount; ++c) {
          double logit = y[c];
          for (int k = 0; k < kDim; ++k) {
            logit += y[kClassCount + c * kDim + k] * records.features[r][k];
          }
          total += scores[c] = std::exp(logit);
        }
        for (int c = 0; c < kClassCount; ++c) {
          const double error =
              (scores[c] / total - (records.labels[r] == c ? 1 : 0)) /
              static_cast<double>(sites.size() * records.labels.size());
          gradient[c] += error;
          for (int k = 0; k < kDim; ++k) {
            gradient[kClassCount + c * kDim + k] +=
                error * records.features[r][k];
          }
        }
      }
    }
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] -= 0.2 * (gradient[i] + weight_decay * y[i]);
    }
  }
  return y;
}

TEST_F(ScaffoldTest, SitesThatDifferGetNearerThePooledOptimumThanByFedAvg) {
  const std::vector<Records> records = HeterogeneousSites();
  constexpr double kDecay = 0.05;
  const std::vector<double> optimum = PooledOptimum(records, kDecay);
  std::map<std::string, double> distances;
  for (const std::string rule : {"fed_avg", "scaffold"}) {
    Plan plan = ScaffoldPlan();
    plan.rule.kind = rule;
    plan.local_epochs = 10;
    plan.batch_size = 60;
    plan.optimizer.weight_decay = kDecay;
    Start(plan);
    std::vector<std::unique_ptr<TrainerSession>> sites;
    std::vector<TrainerSession*> all;
    for (const Records& of_site : records) {
      sites.push_back(Open(of_site, rule + std::to_string(sites.size())));
      all.push_back(sites.back().get());
    }
    for (int round = 0; round < 40; ++round) Round(all, 3);
    double squares = 0;
    for (size_t i = 0; i < kParameters; ++i) {
      squares += std::pow(x_[i] - optimum[i], 2);
    }
    distances[rule] = std::sqrt(squares);
  }
  EXPECT_GT(distances["fed_avg"], 0.05);
  EXPECT_LT(distances["scaffold"], 0.02 * distances["fed_avg"])
      << distances["scaffold"] << " of " << distances["fed_avg"];
}

// A trainer that is killed after it has kept c_k⁺ and before its update is
// counted, and another attempt at the same sum.
TEST_F(ScaffoldTest, ARoundDoneAgainGivesTheSameUpdateFromTheSameState) {
  Start(ScaffoldPlan());
  const std::vector<Records> records = ThreeSites();
  auto site = Open(records[1], "site");
  Round({site.get()}, 3);
  const ParameterVector first = Train(*site, 2, 1);
  EXPECT_EQ(Train(*site, 2, 1), first);
  auto restarted = Open(records[1], "site");
  EXPECT_EQ(Train(*restarted, 2, 1), first);
  const ParameterVector before = Kept("site", 1), after = Kept("site", 2);
  const ParameterVector change = ControlVariates(layout_).Of(first);
  for (size_t i = 0; i < kParameters; ++i) {
    EXPECT_EQ(after[i], before[i] + change[i]);
  }
}

// Two sites with the same records: one trains rounds that close without it.
TEST_F(ScaffoldTest, AnUpdateThatWasNotCountedLeavesNoTrace) {
  Start(ScaffoldPlan());
  const std::vector<Records> records = ThreeSites();
  auto site = Open(records[1], "site");
  auto twin = Open(records[1], "twin");
  auto other = Open(records[0], "other");
  Round({site.get(), twin.get(), other.get()}, 3);
  for (int round = 2; round <= 4; ++round) {
    Train(*site, round, 1);
    Round({other.get()}, 3);
  }
  const ParameterVector of_site = Train(*site, 5, 1);
  EXPECT_EQ(of_site, Train(*twin, 5, 1));
  // Counted, it is what the site goes on from.
  EXPECT_NE(Train(*site, 6, 5), Train(*twin, 6, 1));
}

TEST_F(ScaffoldTest, WithoutTheStateThatWasCountedNothingIsTrained) {
  Start(ScaffoldPlan());
  auto site = Open(ThreeSites()[1], "site");
  Round({site.get()}, 3);
  Train(*site, 2, 1);
  std::filesystem::remove(folder_.File("site") +
                          "/control/00000001.safetensors");
  EXPECT_THAT(TryTrain(*site, 2, 1).status(),
              IsError(absl::StatusCode::kFailedPrecondition,
                      "counted this site's update of round 1"));
  EXPECT_THAT(TryOpen(ThreeSites()[1], "").status(),
              IsError(absl::StatusCode::kInvalidArgument,
                      "rule scaffold needs a state folder"));
}

// The aggregator's c is the mean of what the sites keep, whatever is cut from
// an update on its way.
TEST_F(ScaffoldTest, WhatIsCutFromAChangeIsCutFromTheStateToo) {
  Plan plan = ScaffoldPlan();
  plan.update.clip_norm = 0.05;
  plan.update.range = 0.02;
  Start(plan);
  auto site = Open(ThreeSites()[2], "site");
  const ParameterVector update = Train(*site, 1, 0);
  double squares = 0;
  for (const float value : update) squares += std::pow(value, 2);
  EXPECT_LT(std::sqrt(squares), 0.05 * (1 + 1e-6));
  const ParameterVector change = ControlVariates(layout_).Of(update);
  EXPECT_EQ(Kept("site", 1), change);
  EXPECT_FLOAT_EQ(std::abs(*std::max_element(change.begin(), change.end(),
                                             [](float a, float b) {
                                               return std::abs(a) < std::abs(b);
                                             })),
                  0.02f);
}

// Rounded to a coarse grid, an update that is just short enough must not come
// to be clipped by the daemon, of which the state would know nothing.
TEST_F(ScaffoldTest, RoundingMakesNoUpdateTooLong) {
  const auto norm_of = [&](const ParameterVector& update) {
    double squares = 0;
    for (const float value : update) squares += std::pow(value, 2);
    return std::sqrt(squares);
  };
  Plan plan = ScaffoldPlan();
  plan.update.clip_norm = 1e6;
  Start(plan);
  const double norm = norm_of(Train(*Open(ThreeSites()[2], "fine"), 1, 0));
  plan.update.clip_norm = norm * (1 + 1e-5);
  plan.update.word_bits = 12;
  Start(plan);
  const ParameterVector coarse = Train(*Open(ThreeSites()[2], "coarse"), 1, 0);
  EXPECT_LT(norm_of(coarse), plan.update.clip_norm);
  EXPECT_GT(norm_of(coarse), 0.5 * norm);
}

// Ditto's model is the site's own: nothing is corrected in it, and it changes
// no update.
TEST_F(ScaffoldTest, APersonalModelIsTrainedAsByFedAvg) {
  std::vector<Bytes> personal;
  ParameterVector updates[2];
  for (const char* rule : {"fed_avg", "scaffold"}) {
    for (const PersonalKind kind :
         {PersonalKind::kNone, PersonalKind::kDitto}) {
      Plan plan = ScaffoldPlan();
      plan.rule.kind = rule;
      plan.personal.kind = kind;
      Start(plan);
      c_.assign(kParameters, 0.25f);
      const bool has_one = kind == PersonalKind::kDitto;
      const std::string state = std::string(rule) + (has_one ? "+" : "");
      auto site = Open(ThreeSites()[1], state);
      updates[has_one] = Train(*site, 1, 0);
      if (has_one) {
        personal.push_back(
            *ReadFile(folder_.File(state) + "/personal/00000001.safetensors"));
      }
    }
  }
  EXPECT_EQ(updates[0], updates[1]);
  EXPECT_EQ(personal[0], personal[1]);
}

TEST_F(ScaffoldTest, TravelsBesideParametersAndIsNoPartOfTheModel) {
  Start(ScaffoldPlan());
  auto site = Open(ThreeSites()[0], "site");
  EXPECT_EQ(site->layout_digest(), layout_.digest());
  EXPECT_EQ(Train(*site, 1, 0).size(), 2 * kParameters);
  const auto loss = [&] {
    EXPECT_THAT(
        WriteFile(model_, EncodeTrainableSet(
                              layout_, ControlVariates(layout_).Join(x_, c_))),
        IsOk());
    const auto evaluated =
        site->RunEvaluate({1, model_, Split::kVal, true, model_}, Silent);
    EXPECT_THAT(evaluated, IsOk());
    return evaluated->scalars;
  };
  const auto scalars = loss();
  c_.assign(kParameters, 1.0f);
  EXPECT_EQ(loss(), scalars);
}

}  // namespace
}  // namespace fedgraft
