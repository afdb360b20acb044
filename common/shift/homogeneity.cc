#include "common/shift/homogeneity.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

absl::StatusOr<double> Total(absl::Span<const double> counts) {
  double sum = 0;
  for (double count : counts) {
    if (!(count >= 0) || !std::isfinite(count)) {
      return absl::InvalidArgumentError(
          absl::StrCat("counts: expected none below 0, not ", count));
    }
    sum += count;
  }
  if (!(sum > 0)) {
    return absl::InvalidArgumentError("counts: a sample has no record");
  }
  return sum;
}

}  // namespace

absl::StatusOr<HomogeneityTest> TestHomogeneity(absl::Span<const double> a,
                                                absl::Span<const double> b) {
  if (a.size() != b.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("counts: expected the same categories, not ", a.size(),
                     " and ", b.size()));
  }
  FG_ASSIGN_OR_RETURN(const double total_a, Total(a));
  FG_ASSIGN_OR_RETURN(const double total_b, Total(b));
  const double total = total_a + total_b;
  HomogeneityTest test;
  int categories = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double both = a[i] + b[i];
    if (!(both > 0)) continue;
    ++categories;
    const double expected_a = both * total_a / total;
    const double expected_b = both * total_b / total;
    test.statistic += (a[i] - expected_a) * (a[i] - expected_a) / expected_a +
                      (b[i] - expected_b) * (b[i] - expected_b) / expected_b;
  }
  if (categories < 2) return test;
  test.dof = categories - 1;
  test.p = ChiSquareTail(test.statistic, test.dof);
  test.effect = std::sqrt(test.statistic / total);
  return test;
}

}  // namespace fedgraft
