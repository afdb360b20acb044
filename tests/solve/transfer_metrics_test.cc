#include "common/solve/transfer_metrics.h"

#include <cmath>
#include <random>
#include <vector>

#include "common/transfer/transferability.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/solve/sites_case.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/golden.h"

namespace fedgraft {
namespace {

using testing::Crossed;
using testing::CrossOf;
using testing::IsError;
using testing::IsOk;
using testing::PlainRecords;

using Case = testing::SitesCase;

// Features of different means and scales, as after a ReLU; feature 0 tells the
// first class, `dead` features are 0. Sites differ in size and mean.
Case MakeCase(int classes, int64_t dim, std::vector<int> sizes, int dead = 0) {
  Case result{classes, dim, {}};
  std::mt19937 random(static_cast<unsigned>(dim));
  std::normal_distribution<double> normal;
  for (size_t s = 0; s < sizes.size(); ++s) {
    PlainRecords site;
    for (int i = 0; i < sizes[s]; ++i) {
      const int label = static_cast<int>(random() % classes);
      std::vector<double> f(dim);
      for (int64_t j = 0; j + dead < dim; ++j) {
        f[j] = std::max(0.3 + 0.4 * s + (1.0 + j % 5) * normal(random), 0.0);
      }
      if (label == 0) f[0] += 3;
      site.features.push_back(std::move(f));
      site.labels.push_back(label);
    }
    result.sites.push_back(std::move(site));
  }
  return result;
}

// As `fedgraft-client rank` has them.
FeatureMoments MomentsOfRecords(const Case& data) {
  const PlainRecords pooled = data.Pooled();
  std::vector<double> flat;
  for (const auto& f : pooled.features) {
    flat.insert(flat.end(), f.begin(), f.end());
  }
  FeatureMoments moments(*FeatureMomentsLayout::Create(data.dim, data.classes));
  const std::vector<int64_t> labels(pooled.labels.begin(), pooled.labels.end());
  EXPECT_THAT(moments.Add({flat, static_cast<int64_t>(labels.size()), data.dim},
                          labels),
              IsOk());
  return moments;
}

TEST(TransferMetricsTest, SitesHaveTheValuesOfTheirPooledRecords) {
  const Case cases[] = {
      MakeCase(2, 7, {30, 45, 12}), MakeCase(4, 20, {100, 1, 60}),
      MakeCase(3, 24, {40, 40}, /*dead=*/5),
      MakeCase(2, 60, {20, 11, 9})};  // fewer records than features
  for (const Case& data : cases) {
    const FeatureMoments pooled = MomentsOfRecords(data);
    for (Normalization normalization :
         {Normalization::kPooled, Normalization::kNone}) {
      SCOPED_TRACE(::testing::Message()
                   << data.dim << " features, normalization "
                   << static_cast<int>(normalization));
      const Crossed crossed = CrossOf(data, normalization);
      const auto metrics = TransferMetrics(crossed.point, crossed.sums);
      ASSERT_EQ(metrics.size(), 5u);
      EXPECT_EQ(metrics.at("transfer_records"), pooled.n());
      EXPECT_EQ(metrics.at("transfer_features"), data.dim);
      const double log_me = *LogMe(pooled);
      EXPECT_NEAR(metrics.at("transfer_log_me"), log_me,
                  1e-8 * std::abs(log_me));
      const double h_score = ComputeHScore(pooled)->plain;
      EXPECT_NEAR(metrics.at("transfer_h_score"), h_score, 1e-8 * h_score);
      const double dimension = *EffectiveDimension(pooled);
      EXPECT_NEAR(metrics.at("transfer_effective_dimension"), dimension,
                  1e-8 * dimension);
    }
  }
}

TEST(TransferMetricsTest, AgreeWithTheReferenceSetOverThreeSites) {
  Case data{3, 3, std::vector<PlainRecords>(3)};
  for (int64_t i = 0; i < testing::kGoldenRecords; ++i) {
    PlainRecords& site = data.sites[i % 3 == 0 ? 0 : (i < 6 ? 1 : 2)];
    const auto begin = testing::kGoldenX.begin() + 3 * i;
    site.features.emplace_back(begin, begin + 3);
    site.labels.push_back(static_cast<int>(testing::kGoldenLabels[i]));
  }
  for (Normalization normalization :
       {Normalization::kPooled, Normalization::kNone}) {
    const Crossed crossed = CrossOf(data, normalization);
    const auto metrics = TransferMetrics(crossed.point, crossed.sums);
    EXPECT_NEAR(metrics.at("transfer_log_me"), testing::kGoldenLogMe, 1e-8);
    EXPECT_NEAR(metrics.at("transfer_h_score"), testing::kGoldenHScore, 1e-8);
  }
}

TEST(TransferMetricsTest, NormalisedSumsGiveTheMomentsOfFeaturesAsTheyAre) {
  const Case data = MakeCase(3, 6, {25, 40}, /*dead=*/1);
  const FeatureMoments pooled = MomentsOfRecords(data);
  const Crossed crossed = CrossOf(data, Normalization::kPooled);
  ASSERT_FALSE(crossed.point.mean.empty());
  const auto moments = MomentsOfCross(crossed.point, crossed.sums);
  ASSERT_THAT(moments, IsOk());
  EXPECT_FALSE(moments->has_norms());
  const FeatureMomentsLayout& layout = pooled.layout();
  for (int64_t i = 0; i < layout.Count(); ++i) {
    if (i >= layout.WeightedSumIndex() && i < layout.ClassSumIndex(0)) continue;
    if (i == layout.FourthPowerIndex()) continue;
    EXPECT_NEAR(moments->sums()[i], pooled.sums()[i],
                1e-9 * (1 + std::abs(pooled.sums()[i])))
        << i;
  }
}

TEST(TransferMetricsTest, SaysNothingOfWhatIsNotDefined) {
  Case data = MakeCase(2, 3, {8, 9});
  for (PlainRecords& site : data.sites) {
    for (int& label : site.labels) label = 1;
  }
  const Crossed one_class = CrossOf(data, Normalization::kPooled);
  const auto metrics = TransferMetrics(one_class.point, one_class.sums);
  EXPECT_EQ(metrics.count("transfer_log_me"), 0u);
  EXPECT_EQ(metrics.count("transfer_h_score"), 0u);
  EXPECT_EQ(metrics.count("transfer_effective_dimension"), 1u);

  const Crossed per_site =
      CrossOf(MakeCase(2, 3, {8, 9}), Normalization::kPerSite);
  EXPECT_TRUE(TransferMetrics(per_site.point, per_site.sums).empty());
  EXPECT_THAT(MomentsOfCross(per_site.point, per_site.sums).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "by itself"));

  SolvePoint moments_stage;
  EXPECT_TRUE(TransferMetrics(moments_stage, {}).empty());
}

}  // namespace
}  // namespace fedgraft
