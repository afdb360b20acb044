#include "common/model/evaluation_layout.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// Binary sums of records with these probabilities of class 1.
std::vector<double> BinarySums(const std::vector<int>& truths,
                               const std::vector<double>& scores) {
  const EvaluationLayout layout(2);
  std::vector<double> sums(layout.Count(), 0);
  for (size_t i = 0; i < truths.size(); ++i) {
    const float p = static_cast<float>(scores[i]);
    AddRecord(layout, {1 - p, p}, truths[i], 0.5, absl::MakeSpan(sums));
  }
  return sums;
}

struct ExactAuc {
  double auc, variance;
};

// DeLong from its definition, O(n²), on scores cut to their bins.
ExactAuc ExactDeLong(const std::vector<int>& truths,
                     const std::vector<double>& scores) {
  std::vector<double> positives, negatives;
  for (size_t i = 0; i < truths.size(); ++i) {
    (truths[i] == 1 ? positives : negatives)
        .push_back(std::floor(scores[i] * kScoreBins));
  }
  std::vector<double> v10(positives.size(), 0), v01(negatives.size(), 0);
  double auc = 0;
  for (size_t i = 0; i < positives.size(); ++i) {
    for (size_t j = 0; j < negatives.size(); ++j) {
      const double psi = positives[i] > negatives[j]    ? 1
                         : positives[i] == negatives[j] ? 0.5
                                                        : 0;
      v10[i] += psi / negatives.size();
      v01[j] += psi / positives.size();
      auc += psi / positives.size() / negatives.size();
    }
  }
  double variance = 0;
  for (const auto& v : {v10, v01}) {
    double squares = 0;
    for (double x : v) squares += (x - auc) * (x - auc);
    variance += squares / (v.size() - 1) / v.size();
  }
  return {auc, variance};
}

void ExpectInterval(const std::map<std::string, double>& metrics, double auc,
                    double variance, double tolerance) {
  const double logit = std::log(auc / (1 - auc));
  const double half =
      1.959963984540054 * std::sqrt(variance) / (auc * (1 - auc));
  EXPECT_NEAR(metrics.at("auc"), auc, tolerance);
  EXPECT_NEAR(metrics.at("auc_low"), 1 / (1 + std::exp(half - logit)),
              tolerance);
  EXPECT_NEAR(metrics.at("auc_high"), 1 / (1 + std::exp(-half - logit)),
              tolerance);
}

// AUC depends on ranks only: any scores fit once each distinct value has a bin
// of its own.
std::vector<double> ToBins(const std::vector<double>& scores) {
  const std::set<double> distinct(scores.begin(), scores.end());
  std::vector<double> binned;
  for (double score : scores) {
    const double rank = std::distance(distinct.begin(), distinct.find(score));
    binned.push_back((3 * rank + 0.5) / kScoreBins);
  }
  return binned;
}

TEST(EvaluationLayoutTest, IndicesTileTheSums) {
  for (int classes : {2, 3, 7}) {
    const EvaluationLayout layout(classes);
    std::set<int64_t> seen = {0, layout.LossIndex()};
    for (int a = 0; a < classes; ++a) {
      for (int b = 0; b < classes; ++b)
        seen.insert(layout.ConfusionIndex(a, b));
    }
    for (int c = classes == 2 ? 1 : 0; c < classes; ++c) {
      for (bool positive : {false, true}) {
        for (int bin = 0; bin < kScoreBins; ++bin) {
          seen.insert(layout.HistogramIndex(c, positive) + bin);
        }
      }
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), layout.Count());
    EXPECT_EQ(*seen.rbegin(), layout.Count() - 1);
  }
}

TEST(AddRecordTest, CountsPredictionAndScoreBins) {
  const EvaluationLayout layout(3);
  std::vector<double> sums(layout.Count(), 0);
  AddRecord(layout, {0.25f, 0.75f, 0.0f}, 2, 1.5, absl::MakeSpan(sums));
  EXPECT_EQ(sums[0], 1);
  EXPECT_EQ(sums[layout.LossIndex()], 1.5);
  EXPECT_EQ(sums[layout.ConfusionIndex(2, 1)], 1);
  EXPECT_EQ(sums[layout.HistogramIndex(0, false) + 256], 1);
  EXPECT_EQ(sums[layout.HistogramIndex(1, false) + 768], 1);
  EXPECT_EQ(sums[layout.HistogramIndex(2, true) + 0], 1);
  double total = 0;
  for (double sum : sums) total += sum;
  EXPECT_EQ(total, 1 + 1.5 + 1 + 3);
}

TEST(AddRecordTest, EdgeAndBrokenProbabilitiesStayInTheHistogram) {
  const EvaluationLayout layout(2);
  std::vector<double> sums(layout.Count(), 0);
  AddRecord(layout, {0.0f, 1.0f}, 1, 0, absl::MakeSpan(sums));
  AddRecord(layout, {0.0f, 1.5f}, 1, 0, absl::MakeSpan(sums));
  AddRecord(layout, {NAN, NAN}, 1, 0, absl::MakeSpan(sums));
  AddRecord(layout, {1.0f, -0.5f}, 1, 0, absl::MakeSpan(sums));
  EXPECT_EQ(sums[layout.HistogramIndex(1, true) + kScoreBins - 1], 2);
  EXPECT_EQ(sums[layout.HistogramIndex(1, true)], 2);
}

// Values of `delong` in the project's reference set (scores with ties).
TEST(EvaluationMetricsTest, AgreesWithPublishedDeLongExample) {
  const std::vector<int> y = {1, 0, 1, 1, 0, 0, 1, 0, 1, 0,
                              1, 0, 0, 1, 1, 0, 0, 1, 0, 1};
  const std::vector<double> a = {
      2.378, 1.179,  1.111, 0.414, -0.284, -2.789, 1.051, -0.558, 1.2,  0.451,
      2.32,  -0.433, 0.394, 2.67,  0.133,  0.057,  0.08,  -0.707, 0.44, -0.546};
  const std::vector<double> b = {
      3.013, -1.506, 1.702,  0.437, 0.437, 0.552,  0.375, 0.486, 0.699, 0.767,
      0.026, -0.867, -0.065, 2.241, 1.041, -0.156, 1.583, 2.219, -0.02, 0.748};
  const auto metrics_a =
      EvaluationMetrics(EvaluationLayout(2), BinarySums(y, ToBins(a)));
  const auto metrics_b =
      EvaluationMetrics(EvaluationLayout(2), BinarySums(y, ToBins(b)));
  ASSERT_TRUE(metrics_a.ok() && metrics_b.ok());
  ExpectInterval(*metrics_a, 0.74, 0.014533333333333332, 1e-12);
  ExpectInterval(*metrics_b, 0.805, 0.009827777777777776, 1e-12);
}

TEST(EvaluationMetricsTest, EqualsTheQuadraticDefinitionWithManyTies) {
  std::mt19937 random(13);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int trial = 0; trial < 20; ++trial) {
    std::vector<int> truths = {0, 0, 1, 1};
    std::vector<double> scores = {0.2, 0.4, 0.3, 0.6};
    for (int i = 0; i < 300; ++i) {
      truths.push_back(uniform(random) < 0.3 ? 1 : 0);
      // From 8 to 4096 distinct values: from ties everywhere to almost none.
      const double levels = 8 << (trial % 10);
      const double raw = (uniform(random) + 0.5 * truths.back()) / 1.5;
      scores.push_back(std::floor(raw * levels) / levels);
    }
    const auto metrics =
        EvaluationMetrics(EvaluationLayout(2), BinarySums(truths, scores));
    ASSERT_TRUE(metrics.ok()) << metrics.status();
    const ExactAuc exact = ExactDeLong(truths, scores);
    ExpectInterval(*metrics, exact.auc, exact.variance, 1e-12);
  }
}

TEST(EvaluationMetricsTest, SumsOfSitesGiveThePooledMetrics) {
  const std::vector<int> truths = {0, 1, 0, 1, 1, 0, 0, 1};
  const std::vector<double> scores = {.1, .9, .4, .35, .8, .2, .6, .7};
  std::vector<double> total(EvaluationLayout(2).Count(), 0);
  for (size_t i = 0; i < truths.size(); i += 2) {
    const auto site =
        BinarySums({truths[i], truths[i + 1]}, {scores[i], scores[i + 1]});
    for (size_t k = 0; k < total.size(); ++k) total[k] += site[k];
  }
  EXPECT_EQ(
      *EvaluationMetrics(EvaluationLayout(2), total),
      *EvaluationMetrics(EvaluationLayout(2), BinarySums(truths, scores)));
}

TEST(EvaluationMetricsTest, AccuracyAndBalancedAccuracy) {
  // Three of four negatives right, one of two positives.
  const auto metrics = EvaluationMetrics(
      EvaluationLayout(2),
      BinarySums({0, 0, 0, 0, 1, 1}, {.1, .2, .3, .9, .9, .1}));
  ASSERT_TRUE(metrics.ok());
  EXPECT_EQ(metrics->at("n"), 6);
  EXPECT_EQ(metrics->at("loss"), 0.5);
  EXPECT_DOUBLE_EQ(metrics->at("accuracy"), 4.0 / 6);
  EXPECT_DOUBLE_EQ(metrics->at("balanced_accuracy"), (0.75 + 0.5) / 2);
}

TEST(EvaluationMetricsTest, MacroAucIsOverDefinedClasses) {
  const EvaluationLayout layout(3);
  std::vector<double> sums(layout.Count(), 0);
  // Class 2 never occurs.
  AddRecord(layout, {.7f, .2f, .1f}, 0, 1, absl::MakeSpan(sums));
  AddRecord(layout, {.3f, .6f, .1f}, 0, 1, absl::MakeSpan(sums));
  AddRecord(layout, {.4f, .5f, .1f}, 1, 1, absl::MakeSpan(sums));
  AddRecord(layout, {.1f, .8f, .1f}, 1, 1, absl::MakeSpan(sums));
  const auto metrics = EvaluationMetrics(layout, sums);
  ASSERT_TRUE(metrics.ok());
  // Class 0: {.7, .3} against {.4, .1}: 3 of 4 pairs. Class 1: {.5, .8}
  // against {.2, .6}: 3 of 4.
  EXPECT_DOUBLE_EQ(metrics->at("auc_0"), 0.75);
  EXPECT_DOUBLE_EQ(metrics->at("auc_1"), 0.75);
  EXPECT_EQ(metrics->count("auc_2"), 0u);
  EXPECT_DOUBLE_EQ(metrics->at("auc"), 0.75);
  EXPECT_LT(metrics->at("auc_low"), 0.75);
  EXPECT_GT(metrics->at("auc_high"), 0.75);
}

TEST(EvaluationMetricsTest, UndefinedMetricsAreAbsent) {
  const auto one_class =
      EvaluationMetrics(EvaluationLayout(2), BinarySums({1, 1}, {.2, .8}));
  ASSERT_TRUE(one_class.ok());
  EXPECT_EQ(one_class->size(), 3u);  // n, loss, accuracy
  // One positive: an AUC, but no variance. Perfect separation: no logit.
  const auto lonely = EvaluationMetrics(EvaluationLayout(2),
                                        BinarySums({1, 0, 0}, {.5, .2, .8}));
  ASSERT_TRUE(lonely.ok());
  EXPECT_EQ(lonely->at("auc"), 0.5);
  EXPECT_EQ(lonely->count("auc_low"), 0u);
  const auto perfect = EvaluationMetrics(
      EvaluationLayout(2), BinarySums({1, 1, 0, 0}, {.7, .9, .2, .3}));
  ASSERT_TRUE(perfect.ok());
  EXPECT_EQ(perfect->at("auc"), 1);
  EXPECT_EQ(perfect->count("auc_low"), 0u);
}

TEST(EvaluationMetricsTest, RefusesWhatAreNotSums) {
  const EvaluationLayout layout(2);
  const std::vector<double> good = BinarySums({0, 1}, {.2, .8});
  const auto expect_refused = [&layout](std::vector<double> sums,
                                        const char* message) {
    const auto metrics = EvaluationMetrics(layout, sums);
    ASSERT_TRUE(absl::IsInvalidArgument(metrics.status())) << message;
    EXPECT_THAT(std::string(metrics.status().message()), HasSubstr(message));
  };
  expect_refused({}, "sums expected");
  expect_refused(std::vector<double>(good.begin(), good.end() - 1), "expected");
  expect_refused(std::vector<double>(good.size(), 0), "no records");
  std::vector<double> bad = good;
  bad[3] = -1;
  expect_refused(bad, "sum 3 is -1");
  bad[3] = NAN;
  expect_refused(bad, "not a count");
}

}  // namespace
}  // namespace fedgraft
