#include "common/transfer/feature_moments.h"

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/transfer/product_sums.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/transfer/random_matrix.h"

namespace fedgraft {
namespace {

using testing::IsError;
using testing::IsOk;
using testing::OwnedMatrix;
using testing::RandomMatrix;

FeatureMomentsLayout LayoutOf(int64_t dim, int classes) {
  return *FeatureMomentsLayout::Create(dim, classes);
}

TEST(FeatureMomentsTest, IndicesTileTheSums) {
  const FeatureMomentsLayout layout = LayoutOf(5, 3);
  std::set<int64_t> seen = {0, layout.FourthPowerIndex()};
  for (int c = 0; c < 3; ++c) seen.insert(layout.ClassCountIndex(c));
  for (int64_t j = 0; j < 5; ++j) {
    seen.insert(layout.SumIndex() + j);
    seen.insert(layout.WeightedSumIndex() + j);
    for (int c = 0; c < 3; ++c) seen.insert(layout.ClassSumIndex(c) + j);
  }
  for (int64_t k = 0; k < 15; ++k) seen.insert(layout.ProductIndex() + k);
  EXPECT_EQ(static_cast<int64_t>(seen.size()), layout.Count());
  EXPECT_EQ(*seen.rbegin(), layout.Count() - 1);
}

TEST(FeatureMomentsTest, AddUpRecordsWithAndWithoutLabel) {
  FeatureMoments moments(LayoutOf(2, 3));
  const OwnedMatrix records{{1, 2, 3, 4, -1, 0}, 3, 2};
  ASSERT_THAT(moments.Add(records.View(), {2, -1, 2}), IsOk());
  EXPECT_EQ(moments.n(), 3);
  EXPECT_EQ(moments.class_count(0), 0);
  EXPECT_EQ(moments.class_count(2), 2);
  EXPECT_EQ(moments.fourth_powers(), 25 + 625 + 1);
  EXPECT_EQ(moments.Sum(), absl::MakeConstSpan({3.0, 6.0}));
  EXPECT_EQ(moments.WeightedSum(),
            absl::MakeConstSpan({5.0 + 75 - 1, 10.0 + 100}));
  EXPECT_EQ(moments.ClassSum(0), absl::MakeConstSpan({0.0, 0.0}));
  EXPECT_EQ(moments.ClassSum(2), absl::MakeConstSpan({0.0, 2.0}));
  EXPECT_EQ(moments.Products(),
            absl::MakeConstSpan({1.0 + 9 + 1, 2.0 + 12, 4.0 + 16}));
}

TEST(FeatureMomentsTest, SitesAddUpToThePooledRecords) {
  const OwnedMatrix records = RandomMatrix(40, 6, 3, 1);
  std::vector<int64_t> labels;
  for (int i = 0; i < 40; ++i) labels.push_back(i % 5 - 1);
  FeatureMoments pooled(LayoutOf(6, 4));
  std::vector<double> total(pooled.layout().Count());
  ASSERT_THAT(pooled.Add(records.View(), labels), IsOk());
  int64_t begin = 0;
  for (int64_t end : {1, 18, 18, 40}) {
    FeatureMoments site(LayoutOf(6, 4));
    ASSERT_THAT(
        site.Add(records.Rows(begin, end),
                 absl::MakeConstSpan(labels).subspan(begin, end - begin)),
        IsOk());
    const auto sent = FeatureMoments::FromSums(
        site.layout(), {site.sums().begin(), site.sums().end()});
    ASSERT_THAT(sent, IsOk());
    for (int64_t i = 0; i < site.layout().Count(); ++i) {
      total[i] += sent->sums()[i];
    }
    begin = end;
  }
  for (int64_t i = 0; i < pooled.layout().Count(); ++i) {
    EXPECT_NEAR(total[i], pooled.sums()[i], 1e-10);
  }
}

TEST(FeatureMomentsTest, CovarianceIsTheDefinitions) {
  const OwnedMatrix records = RandomMatrix(30, 4, 5, 3);
  FeatureMoments moments(LayoutOf(4, 1));
  ASSERT_THAT(moments.Add(records.View(), std::vector<int64_t>(30, -1)),
              IsOk());
  const auto covariance = moments.Covariance();
  ASSERT_THAT(covariance, IsOk());
  std::vector<double> mean(4);
  for (int64_t k = 0; k < 30; ++k) {
    for (int64_t j = 0; j < 4; ++j) mean[j] += records.At(k, j) / 30;
  }
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < 30; ++k) {
        sum += (records.At(k, i) - mean[i]) * (records.At(k, j) - mean[j]);
      }
      EXPECT_NEAR((*covariance)[i * 4 + j], sum / 30, 1e-12);
    }
  }
  EXPECT_THAT(FeatureMoments(LayoutOf(4, 1)).Covariance(),
              IsError(absl::StatusCode::kFailedPrecondition, "no records"));
}

TEST(FeatureMomentsTest, RefuseABadRecordAndKeepTheirState) {
  FeatureMoments moments(LayoutOf(2, 2));
  const OwnedMatrix good{{1, 2}, 1, 2}, nan{{1, 2, 3, NAN}, 2, 2};
  ASSERT_THAT(moments.Add(good.View(), {1}), IsOk());
  const std::vector<double> before(moments.sums().begin(),
                                   moments.sums().end());
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(moments.Add(nan.View(), {0, 1}),
              IsError(kInvalid, "value 1 of record 1 is not finite"));
  EXPECT_THAT(moments.Add(good.View(), {2}), IsError(kInvalid, "label 2"));
  EXPECT_THAT(moments.Add(good.View(), {-2}), IsError(kInvalid, "label -2"));
  EXPECT_THAT(moments.Add(good.View(), {0, 1}),
              IsError(kInvalid, "2 labels for 1 records"));
  EXPECT_THAT(moments.Add({good.values, 2, 1}, {0, 1}),
              IsError(kInvalid, "expected 2 a record, not 1"));
  EXPECT_THAT(moments.Add({good.values, 2, 2}, {0, 1}),
              IsError(kInvalid, "2 values are not 2 records of 2"));
  EXPECT_EQ(moments.sums(), absl::MakeConstSpan(before));
}

TEST(FeatureMomentsTest, RefuseSumsThatNoRecordsHave) {
  const FeatureMomentsLayout layout = LayoutOf(1, 2);
  const auto with = [&](int64_t index, double value) {
    std::vector<double> sums(layout.Count());
    sums[0] = 2;
    sums[index] = value;
    return FeatureMoments::FromSums(layout, std::move(sums)).status();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(with(layout.ClassCountIndex(0), 2), IsOk());
  EXPECT_THAT(with(layout.ClassCountIndex(1), -1),
              IsError(kInvalid, "class 1 has -1 records"));
  EXPECT_THAT(with(layout.ClassCountIndex(0), 3),
              IsError(kInvalid, "3 records have a label, but there are 2"));
  EXPECT_THAT(with(layout.ProductIndex(), INFINITY),
              IsError(kInvalid, "is not finite"));
  EXPECT_THAT(FeatureMoments::FromSums(layout, {1, 2}).status(),
              IsError(kInvalid, "sums expected"));
}

TEST(FeatureMomentsTest, RefuseDimensionsBeyondTheLimits) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  for (auto [dim, classes] :
       {std::pair<int64_t, int>{0, 2}, {4097, 2}, {2, 0}, {2, 1025}}) {
    EXPECT_THAT(FeatureMomentsLayout::Create(dim, classes),
                IsError(kInvalid, "expected 1 to"));
  }
}

}  // namespace
}  // namespace fedgraft
