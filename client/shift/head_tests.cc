#include "client/shift/head_tests.h"

#include <algorithm>
#include <cmath>

#include "client/shift/comparisons.h"
#include "client/shift/head_scores.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

absl::Status Add(std::string_view name, const absl::StatusOr<ScoreTest>& test,
                 double n, ShiftScalars& scalars) {
  if (DoesNotApply(test.status())) return absl::OkStatus();
  FG_RETURN_IF_ERROR(test.status());
  const double excess = std::max(test->statistic - test->dof, 0.0);
  AddResult(name, {test->statistic, test->dof, test->p, std::sqrt(excess / n)},
            scalars);
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string_view> HeadShiftTest::names() const {
  return {"label_score", "label_profiled", "concept_score"};
}

absl::Status HeadShiftTest::Run(const SiteView& view,
                                ShiftScalars& scalars) const {
  const auto n = static_cast<double>(view.n());
  FG_RETURN_IF_ERROR(Add("label_score", TestIntercepts(view), n, scalars));
  FG_RETURN_IF_ERROR(
      Add("label_profiled", TestInterceptsProfiled(view), n, scalars));
  return Add("concept_score", TestSlopes(view), n, scalars);
}

}  // namespace fedgraft
