#include "common/shift/random_features.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/seeded_values.h"
#include "common/numeric/dense_products.h"
#include "common/numeric/sin_cos.h"

namespace fedgraft {

absl::StatusOr<RandomFeatures> RandomFeatures::Create(int64_t feature_dim,
                                                      int64_t size,
                                                      double bandwidth,
                                                      uint64_t seed) {
  if (feature_dim < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "random features: expected one feature or more, not ", feature_dim));
  }
  if (size < 2 || size > kSizeMax || size % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("random features: expected an even size of 2 to ",
                     kSizeMax, ", not ", size));
  }
  if (!(bandwidth > 0) || !std::isfinite(bandwidth)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "random features: expected a bandwidth above 0, not ", bandwidth));
  }
  std::mt19937_64 random(seed);
  std::vector<double> frequencies(feature_dim * (size / 2));
  for (double& w : frequencies) w = NextNormal(random) / bandwidth;
  return RandomFeatures(feature_dim, size / 2, std::move(frequencies));
}

absl::StatusOr<RandomFeatures> RandomFeatures::FromFrequencies(
    const MatrixView& frequencies) {
  FG_RETURN_IF_ERROR(CheckMatrix(frequencies, "frequencies"));
  return RandomFeatures(frequencies.rows, frequencies.columns,
                        std::vector<double>(frequencies.values.begin(),
                                            frequencies.values.end()));
}

absl::StatusOr<std::vector<double>> RandomFeatures::Map(
    const MatrixView& records) const {
  FG_RETURN_IF_ERROR(CheckMatrix(records, "records"));
  if (records.columns != dim_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "records: expected ", dim_, " features, not ", records.columns));
  }
  const double scale = std::sqrt(1.0 / static_cast<double>(half_));
  const std::vector<double> angles =
      Product(records.values, frequencies_, records.rows, dim_, half_);
  std::vector<double> mapped(records.rows * size());
  for (int64_t r = 0; r < records.rows; ++r) {
    const absl::Span<double> out =
        absl::MakeSpan(mapped).subspan(r * size(), size());
    SinCos(absl::MakeConstSpan(angles).subspan(r * half_, half_),
           out.subspan(half_), out.first(half_));
    for (double& value : out) value *= scale;
  }
  return mapped;
}

absl::StatusOr<double> MedianBandwidth(const MatrixView& records, uint64_t seed,
                                       int64_t pairs_max) {
  FG_RETURN_IF_ERROR(CheckMatrix(records, "records"));
  if (records.rows < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bandwidth: expected two records or more, not ", records.rows));
  }
  std::vector<double> squares;
  const auto add = [&](int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t i = 0; i < records.columns; ++i) {
      const double d = records.Row(a)[i] - records.Row(b)[i];
      sum += d * d;
    }
    squares.push_back(sum);
  };
  const int64_t n = records.rows;
  if (n * (n - 1) / 2 <= pairs_max) {
    for (int64_t a = 0; a < n; ++a) {
      for (int64_t b = a + 1; b < n; ++b) add(a, b);
    }
  } else {
    std::mt19937_64 random(seed);
    for (int64_t pair = 0; pair < pairs_max; ++pair) {
      const auto a = static_cast<int64_t>(random() % n);
      const auto b = static_cast<int64_t>(random() % (n - 1));
      add(a, b < a ? b : b + 1);
    }
  }
  const auto middle = squares.begin() + squares.size() / 2;
  std::nth_element(squares.begin(), middle, squares.end());
  if (!(*middle > 0)) {
    return absl::FailedPreconditionError("bandwidth: most records are equal");
  }
  return std::sqrt(*middle / 2);
}

}  // namespace fedgraft
