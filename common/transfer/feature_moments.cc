#include "common/transfer/feature_moments.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

absl::Status CheckLabels(absl::Span<const int64_t> labels, int64_t records,
                         int classes) {
  if (static_cast<int64_t>(labels.size()) != records) {
    return absl::InvalidArgumentError(absl::StrCat(
        "features: ", labels.size(), " labels for ", records, " records"));
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < -1 || labels[i] >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("features: record ", i, " has label ", labels[i],
                       "; there are classes 0 to ", classes - 1));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FeatureMomentsLayout> FeatureMomentsLayout::Create(
    int64_t feature_dim, int num_classes) {
  if (feature_dim < 1 || feature_dim > kFeatureDimMax || num_classes < 1 ||
      num_classes > kClassesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("feature moments: expected 1 to ", kFeatureDimMax,
                     " features and 1 to ", kClassesMax, " classes, not ",
                     feature_dim, " and ", num_classes));
  }
  return FeatureMomentsLayout(feature_dim, num_classes);
}

int64_t FeatureMomentsLayout::Count() const {
  return ProductIndex() + PackedCount(dim_);
}

absl::StatusOr<FeatureMoments> FeatureMoments::FromSums(
    const FeatureMomentsLayout& layout, std::vector<double> sums) {
  if (static_cast<int64_t>(sums.size()) != layout.Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("feature moments: ", layout.Count(), " sums expected for ",
                     layout.feature_dim(), " features and ",
                     layout.num_classes(), " classes, ", sums.size(), " came"));
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!std::isfinite(sums[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("feature moments: sum ", i, " is not finite"));
    }
  }
  double labelled = 0;
  for (int c = 0; c < layout.num_classes(); ++c) {
    const double count = sums[layout.ClassCountIndex(c)];
    if (count < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "feature moments: class ", c, " has ", count, " records"));
    }
    labelled += count;
  }
  if (labelled > sums[0]) {
    return absl::InvalidArgumentError(
        absl::StrCat("feature moments: ", labelled,
                     " records have a label, but there are ", sums[0]));
  }
  FeatureMoments moments(layout);
  moments.sums_ = std::move(sums);
  return moments;
}

absl::StatusOr<FeatureMoments> FeatureMoments::WithoutNorms(
    const FeatureMomentsLayout& layout, std::vector<double> sums) {
  if (static_cast<int64_t>(sums.size()) == layout.Count()) {
    sums[layout.FourthPowerIndex()] = 0;
    std::fill_n(sums.begin() + layout.WeightedSumIndex(), layout.feature_dim(),
                0.0);
  }
  FG_ASSIGN_OR_RETURN(FeatureMoments moments,
                      FromSums(layout, std::move(sums)));
  moments.has_norms_ = false;
  return moments;
}

absl::Status FeatureMoments::Add(const MatrixView& features,
                                 absl::Span<const int64_t> labels) {
  const int64_t dim = layout_.feature_dim();
  if (features.columns != dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "features: expected ", dim, " a record, not ", features.columns));
  }
  FG_RETURN_IF_ERROR(CheckMatrix(features, "features"));
  FG_RETURN_IF_ERROR(CheckLabels(labels, features.rows, layout_.num_classes()));
  double* sum = sums_.data() + layout_.SumIndex();
  double* weighted = sums_.data() + layout_.WeightedSumIndex();
  for (int64_t i = 0; i < features.rows; ++i) {
    const absl::Span<const double> f = features.Row(i);
    double square = 0;
    for (double value : f) square += value * value;
    for (int64_t j = 0; j < dim; ++j) {
      sum[j] += f[j];
      weighted[j] += square * f[j];
    }
    sums_[0] += 1;
    sums_[layout_.FourthPowerIndex()] += square * square;
    if (labels[i] < 0) continue;
    const int label = static_cast<int>(labels[i]);
    sums_[layout_.ClassCountIndex(label)] += 1;
    double* class_sum = sums_.data() + layout_.ClassSumIndex(label);
    for (int64_t j = 0; j < dim; ++j) class_sum[j] += f[j];
  }
  AddSelfProducts(features,
                  absl::MakeSpan(sums_).subspan(layout_.ProductIndex()));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> FeatureMoments::Covariance() const {
  if (!(n() > 0)) {
    return absl::FailedPreconditionError("feature moments: no records");
  }
  const int64_t dim = layout_.feature_dim();
  const absl::Span<const double> sum = Sum(), products = Products();
  std::vector<double> covariance(dim * dim);
  for (int64_t i = 0; i < dim; ++i) {
    for (int64_t j = i; j < dim; ++j) {
      const double value =
          (products[PackedIndex(dim, i, j)] - sum[i] * sum[j] / n()) / n();
      covariance[i * dim + j] = covariance[j * dim + i] = value;
    }
  }
  return covariance;
}

}  // namespace fedgraft
