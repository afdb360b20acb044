#include "client/train/site_metrics.h"

#include <numeric>

#include "common/model/evaluation_layout.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// Ten scores with ties. Expected values from a direct evaluation of DeLong's
// formulas over all pairs (equations 2 to 6 of the paper), in Python.
constexpr float kScores[] = {0.1f, 0.35f, 0.35f, 0.4f, 0.8f,
                             0.2f, 0.65f, 0.9f,  0.5f, 0.35f};
constexpr bool kPositive[] = {false, false, true, true, true,
                              false, false, true, true, false};

constexpr double kAuc = 0.84, kVariance = 0.0182;
constexpr double kLow = 0.4233258895988527, kHigh = 0.9740575850782341;
constexpr double kAuc0 = 0.9, kAuc1 = 0.8, kAuc2 = 0.875;  // ThreeClasses()

Predictions TwoClasses() {
  Predictions predictions;
  predictions.classes = 2;
  for (int i = 0; i < 10; ++i) {
    predictions.probabilities.push_back(1 - kScores[i]);
    predictions.probabilities.push_back(kScores[i]);
    predictions.labels.push_back(kPositive[i] ? 1 : 0);
    predictions.losses.push_back(0.1 * i);
  }
  return predictions;
}

Predictions ThreeClasses() {
  Predictions predictions;
  predictions.classes = 3;
  predictions.probabilities = {.7f, .2f, .1f, .4f, .5f, .1f, .2f,
                               .6f, .2f, .3f, .3f, .4f, .1f, .2f,
                               .7f, .5f, .3f, .2f, .2f, .3f, .5f};
  predictions.labels = {0, 0, 1, 1, 2, 2, 2};
  predictions.losses.assign(7, 1.0);
  return predictions;
}

TEST(ComputeAucTest, EqualsThePairwiseDefinition) {
  const std::optional<Auc> auc = ComputeAuc(kScores, kPositive);
  ASSERT_TRUE(auc.has_value());
  EXPECT_NEAR(auc->value, kAuc, 1e-12);
  double variance = 0;
  for (double value : auc->influence) variance += value * value;
  EXPECT_NEAR(variance, kVariance, 1e-12);
}

TEST(ComputeAucTest, NeedsBothKinds) {
  const float scores[] = {0.1f, 0.2f};
  const bool positive[] = {true, true};
  EXPECT_FALSE(ComputeAuc(scores, positive).has_value());
  EXPECT_FALSE(ComputeAuc({}, {}).has_value());
}

TEST(ComputeAucTest, HasNoVarianceWithOneRecordOfAKind) {
  const float scores[] = {0.1f, 0.5f, 0.2f};
  const bool positive[] = {false, true, false};
  const auto auc = ComputeAuc(scores, positive);
  EXPECT_EQ(auc->value, 1);
  EXPECT_TRUE(auc->influence.empty());
}

TEST(AucIntervalTest, IsUndefinedAtTheEnds) {
  EXPECT_FALSE(AucInterval(1, 0.01).has_value());
  EXPECT_FALSE(AucInterval(0, 0.01).has_value());
  EXPECT_FALSE(AucInterval(0.5, 0).has_value());
}

TEST(SiteMetricsTest, GivesTwoClassNumbers) {
  const auto metrics = SiteMetrics(TwoClasses(), "local_");
  EXPECT_EQ(metrics.at("local_n"), 10);
  EXPECT_NEAR(metrics.at("local_loss"), 0.45, 1e-12);
  EXPECT_NEAR(metrics.at("local_auc"), kAuc, 1e-12);
  EXPECT_NEAR(metrics.at("local_auc_low"), kLow, 1e-9);
  EXPECT_NEAR(metrics.at("local_auc_high"), kHigh, 1e-9);
  // Above 0.5: 0.8, 0.65 (wrong), 0.9; 0.5 is a tie, which class 0 wins.
  EXPECT_NEAR(metrics.at("local_accuracy"), 0.6, 1e-12);
  EXPECT_NEAR(metrics.at("local_balanced_accuracy"), (0.8 + 0.4) / 2, 1e-12);
  EXPECT_FALSE(metrics.contains("local_auc_1"));
}

TEST(SiteMetricsTest, AveragesOverClasses) {
  const auto metrics = SiteMetrics(ThreeClasses(), "");
  EXPECT_NEAR(metrics.at("auc_0"), kAuc0, 1e-12);
  EXPECT_NEAR(metrics.at("auc_1"), kAuc1, 1e-12);
  EXPECT_NEAR(metrics.at("auc_2"), kAuc2, 1e-12);
  EXPECT_NEAR(metrics.at("auc"), (kAuc0 + kAuc1 + kAuc2) / 3, 1e-12);
  EXPECT_NEAR(metrics.at("accuracy"), 4.0 / 7, 1e-12);
  EXPECT_NEAR(metrics.at("balanced_accuracy"), (0.5 + 0.5 + 2.0 / 3) / 3,
              1e-12);
}

TEST(SiteMetricsTest, LeavesOutWhatOneClassDoesNotDefine) {
  Predictions predictions = TwoClasses();
  predictions.labels.assign(10, 0);
  const auto metrics = SiteMetrics(predictions, "");
  EXPECT_TRUE(metrics.contains("accuracy"));
  EXPECT_FALSE(metrics.contains("auc"));
  EXPECT_FALSE(metrics.contains("balanced_accuracy"));
  EXPECT_TRUE(SiteMetrics(Predictions{2, {}, {}, {}}, "").empty());
}

TEST(EvaluationSumsTest, AgreeWithTheSitesOwnNumbers) {
  for (const Predictions& predictions : {TwoClasses(), ThreeClasses()}) {
    const auto sums = EvaluationSums(predictions);
    const auto pooled =
        EvaluationMetrics(EvaluationLayout(predictions.classes), sums);
    ASSERT_TRUE(pooled.ok()) << pooled.status();
    const auto own = SiteMetrics(predictions, "");
    for (const char* name : {"n", "loss", "accuracy", "balanced_accuracy"}) {
      EXPECT_NEAR(pooled->at(name), own.at(name), 1e-9) << name;
    }
    // Scores fall into 1,024 bins: equal here, where they differ by more.
    EXPECT_NEAR(pooled->at("auc"), own.at("auc"), 1e-9);
  }
}

}  // namespace
}  // namespace fedgraft
