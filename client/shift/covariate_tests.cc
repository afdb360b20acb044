#include "client/shift/covariate_tests.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "client/shift/comparisons.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"
#include "common/shift/frechet.h"
#include "common/shift/logistic_sample.h"
#include "common/transfer/packed_symmetric.h"

namespace fedgraft {
namespace {

constexpr double kRecordsPerAxis = 10;
// Information of a record about a share: classes that the features hardly tell
// apart leave it open.
constexpr double kOpenShares = 1e-6;

}  // namespace

std::vector<std::string_view> EmbeddingShiftTest::names() const {
  return {"covariate_mmd"};
}

absl::Status EmbeddingShiftTest::Run(const SiteView& view,
                                     ShiftScalars& scalars) const {
  const auto result = CompareEmbeddings(
      view.embedding(), view.OthersMean("embedding"), view.others_n());
  if (DoesNotApply(result.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(result.status());
  AddResult("covariate_mmd", *result, scalars);
  return absl::OkStatus();
}

std::vector<std::string_view> AdjustedShiftTest::names() const {
  return {"covariate_adjusted"};
}

absl::Status AdjustedShiftTest::Run(const SiteView& view,
                                    ShiftScalars& scalars) const {
  const auto& judged = view.judged();
  if (DoesNotApply(judged.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(judged.status());
  const auto n = static_cast<int64_t>(view.n());
  const auto classes = static_cast<int64_t>(judged->shares.size());
  // Each class's density at a record over the others' mixture's.
  RowMajorMatrix ratios =
      Eigen::Map<const RowMajorMatrix>(judged->posteriors.data(), n, classes);
  for (int64_t c = 0; c < classes; ++c) ratios.col(c) /= judged->shares[c];
  const Eigen::VectorXd mixture =
      ratios *
      Eigen::Map<const Eigen::VectorXd>(judged->prior.prior.data(), classes);
  Eigen::VectorXd weights = mixture.cwiseInverse();
  weights /= weights.mean();
  const Eigen::Map<const RowMajorMatrix> phi(view.embedding().values.data(), n,
                                             kSketchEmbedding);
  const Eigen::RowVectorXd mean =
      weights.transpose() * phi / static_cast<double>(n);
  // Shares follow the records' scores, and the weighted mean the shares: what
  // a record moves the mean by has the regression on its score taken out.
  RowMajorMatrix scores =
      (ratios.rightCols(classes - 1).colwise() - ratios.col(0))
          .array()
          .colwise() /
      mixture.array();
  Eigen::MatrixXd information = scores.transpose() * scores;
  information.diagonal().array() += kOpenShares * static_cast<double>(n);
  const Eigen::MatrixXd weighted = weights.asDiagonal() * scores;
  const RowMajorMatrix slopes = information.ldlt().solve(
      weighted.transpose() * phi - weighted.colwise().sum().transpose() * mean);
  // Records whose mean is the weighted mean and whose spread is that of the
  // influences.
  scores.rowwise() -= scores.colwise().mean().eval();
  RowMajorMatrix influence(n, kSketchEmbedding);
  for (int64_t r = 0; r < n; ++r) {
    influence.row(r) = weights[r] * phi.row(r) + (1 - weights[r]) * mean;
    for (int64_t c = 0; c < slopes.rows(); ++c) {
      influence.row(r) -= scores(r, c) * slopes.row(c);
    }
  }
  const auto result = CompareEmbeddings(
      {absl::MakeConstSpan(influence.data(), influence.size()), n,
       kSketchEmbedding},
      view.OthersMean("embedding"), view.others_n());
  if (DoesNotApply(result.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(result.status());
  AddResult("covariate_adjusted", *result, scalars);
  return absl::OkStatus();
}

std::vector<std::string_view> ConditionalShiftTest::names() const {
  return {"concept_conditional"};
}

absl::Status ConditionalShiftTest::Run(const SiteView& view,
                                       ShiftScalars& scalars) const {
  ShiftResult least;
  int tested = 0;
  for (int c = 0; c < view.spec().num_classes; ++c) {
    const double others_n = view.Others("class_counts")[c];
    if (view.Own("class_counts")[c] < kRecordsMin || others_n < kRecordsMin) {
      continue;
    }
    std::vector<double> rows;
    rows.reserve(static_cast<size_t>(view.Own("class_counts")[c]) *
                 kSketchEmbedding);
    for (int64_t r = 0; r < view.n(); ++r) {
      if (view.labels()[r] != c) continue;
      const absl::Span<const double> row = view.embedding().Row(r);
      rows.insert(rows.end(), row.begin(), row.end());
    }
    std::vector<double> mean;
    for (double sum : view.Others("class_embedding")
                          .subspan(c * kSketchEmbedding, kSketchEmbedding)) {
      mean.push_back(sum / others_n);
    }
    const auto result = CompareEmbeddings(
        {rows, static_cast<int64_t>(rows.size()) / kSketchEmbedding,
         kSketchEmbedding},
        mean, others_n);
    if (DoesNotApply(result.status())) continue;
    FG_RETURN_IF_ERROR(result.status());
    if (tested++ == 0 || result->p < least.p) least = *result;
  }
  if (tested == 0) return absl::OkStatus();
  least.p = std::clamp(-std::expm1(tested * std::log1p(-least.p)), 0.0, 1.0);
  AddResult("concept_conditional", least, scalars);
  return absl::OkStatus();
}

std::vector<std::string_view> FrechetShiftTest::names() const {
  return {"representation_frechet"};
}

absl::Status FrechetShiftTest::Run(const SiteView& view,
                                   ShiftScalars& scalars) const {
  const double least = std::min<double>(view.n(), view.others_n());
  const int64_t axes = std::min<int64_t>(
      view.space().columns, static_cast<int64_t>(least / kRecordsPerAxis));
  if (axes < 1) return absl::OkStatus();
  const auto moments = [&](absl::Span<const double> sum,
                           absl::Span<const double> products, double n) {
    const Eigen::VectorXd mean =
        Eigen::Map<const Eigen::VectorXd>(sum.data(), axes) / n;
    const Eigen::MatrixXd second =
        UnpackSymmetric(products, view.space().columns)
            .topLeftCorner(axes, axes);
    const Eigen::MatrixXd covariance =
        (second - n * mean * mean.transpose()) / (n - 1);
    return GaussianMoments{
        n, std::vector<double>(mean.begin(), mean.end()),
        std::vector<double>(covariance.data(),
                            covariance.data() + covariance.size())};
  };
  const auto test = TestFrechet(
      moments(view.Own("space"), view.Own("space_products"), view.n()),
      moments(view.Others("space"), view.Others("space_products"),
              view.others_n()),
      view.spec().seed);
  // Features of one value have no covariance worth the name.
  if (!test.ok() || !(test->z != 0)) return absl::OkStatus();
  const double mean = test->distance - test->debiased;
  const double deviation = test->debiased / test->z;
  if (!(mean > 1e-12) || !(deviation > 1e-12)) return absl::OkStatus();
  ShiftResult result;
  result.dof = 2 * mean * mean / (deviation * deviation);
  result.statistic = test->distance * result.dof / mean;
  result.p = ChiSquareTail(result.statistic, result.dof);
  result.effect = std::max(test->debiased, 0.0);
  AddResult("representation_frechet", result, scalars);
  return absl::OkStatus();
}

}  // namespace fedgraft
