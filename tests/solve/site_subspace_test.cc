#include "common/solve/site_subspace.h"

#include <random>
#include <vector>

#include "common/transfer/feature_moments.h"
#include "common/transfer/subspace.h"
#include "gtest/gtest.h"
#include "tests/solve/sites_case.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::Crossed;
using testing::CrossOf;
using testing::Federated;
using testing::IsOk;
using testing::PlainRecords;
using testing::SitesCase;

constexpr int64_t kDim = 12;

// Features that vary much in three neighbouring directions, of which site s
// begins with number `first[s]`, and little in the others.
SitesCase MakeCase(const std::vector<int>& first) {
  SitesCase data{2, kDim, {}};
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  for (int begin : first) {
    PlainRecords site;
    for (int i = 0; i < 60; ++i) {
      std::vector<double> f(kDim);
      for (int64_t j = 0; j < kDim; ++j) f[j] = 2 + 0.3 * normal(random);
      for (int k = 0; k < 3; ++k) f[begin + k] += (4 - k) * normal(random);
      site.features.push_back(std::move(f));
      site.labels.push_back(i % 2);
    }
    data.sites.push_back(std::move(site));
  }
  return data;
}

std::map<std::string, double> AlignmentOf(const SitesCase& data,
                                          const Crossed& crossed, size_t site) {
  SitesCase alone = data;
  alone.sites = {data.sites[site]};
  return AlignSite(crossed.point, SiteId{"here"},
                   Federated(crossed.point, alone), crossed.sums);
}

// From the records themselves.
std::vector<double> CovarianceOf(const std::vector<PlainRecords>& sites) {
  FeatureMoments moments(*FeatureMomentsLayout::Create(kDim, 2));
  for (const PlainRecords& site : sites) {
    for (const auto& f : site.features) {
      EXPECT_THAT(moments.Add({f, 1, kDim}, {-1}), IsOk());
    }
  }
  return *moments.Covariance();
}

TEST(SiteSubspaceTest, IsTheAlignmentWithTheOthersRecords) {
  const SitesCase data = MakeCase({0, 0, 1});
  const auto here = CovarianceOf({data.sites[2]});
  const auto others = CovarianceOf({data.sites[0], data.sites[1]});
  const auto expected =
      AlignSubspaces({here, kDim, kDim}, {others, kDim, kDim}, kDim / 4);
  ASSERT_THAT(expected, IsOk());
  for (Normalization normalization :
       {Normalization::kPooled, Normalization::kNone}) {
    const auto metrics = AlignmentOf(data, CrossOf(data, normalization), 2);
    ASSERT_EQ(metrics.size(), 2u);
    EXPECT_NEAR(metrics.at("subspace_cos2_here"), expected->mean_cos2, 1e-8);
    EXPECT_NEAR(metrics.at("subspace_z_here"), expected->z, 1e-7);
  }
}

TEST(SiteSubspaceTest, TellsTheSiteThatVariesInOtherDirections) {
  const SitesCase data = MakeCase({0, 0, 0, 7});
  const Crossed crossed = CrossOf(data, Normalization::kPooled);
  for (size_t site : {0, 1, 2}) {
    EXPECT_GT(AlignmentOf(data, crossed, site).at("subspace_cos2_here"), 0.6);
    EXPECT_GT(AlignmentOf(data, crossed, site).at("subspace_z_here"), 3);
  }
  EXPECT_LT(AlignmentOf(data, crossed, 3).at("subspace_cos2_here"), 0.1);
  EXPECT_LT(AlignmentOf(data, crossed, 3).at("subspace_z_here"), 0);
}

TEST(SiteSubspaceTest, SaysNothingWhereThereIsNoSubspace) {
  SitesCase data = MakeCase({0, 0});
  data.sites[1].features.resize(2);  // two records vary in one direction
  data.sites[1].labels.resize(2);
  const Crossed crossed = CrossOf(data, Normalization::kPooled);
  EXPECT_TRUE(AlignmentOf(data, crossed, 0).empty());
  EXPECT_TRUE(AlignmentOf(data, crossed, 1).empty());
  // Nor for one site alone.
  data.sites.resize(1);
  const Crossed alone = CrossOf(data, Normalization::kPooled);
  EXPECT_TRUE(AlignmentOf(data, alone, 0).empty());
  const Crossed per_site = CrossOf(MakeCase({0, 0}), Normalization::kPerSite);
  EXPECT_TRUE(AlignmentOf(MakeCase({0, 0}), per_site, 0).empty());
}

}  // namespace
}  // namespace fedgraft
