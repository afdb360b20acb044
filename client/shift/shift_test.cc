#include "client/shift/shift_test.h"

#include <cmath>

#include "client/shift/covariate_tests.h"
#include "client/shift/head_tests.h"
#include "client/shift/histogram_tests.h"
#include "client/shift/prior_test.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/shift/shift_tests.h"

namespace fedgraft {

void AddResult(std::string_view test, const ShiftResult& result,
               ShiftScalars& scalars) {
  FG_CHECK(std::isfinite(result.statistic) && std::isfinite(result.dof) &&
           std::isfinite(result.effect) && result.p >= 0 && result.p <= 1);
  scalars[ShiftScalar(test, "statistic")] = result.statistic;
  scalars[ShiftScalar(test, "dof")] = result.dof;
  scalars[ShiftScalar(test, "p")] = result.p;
  scalars[ShiftScalar(test, "effect")] = result.effect;
}

std::vector<std::unique_ptr<const ShiftTest>> AllShiftTests() {
  std::vector<std::unique_ptr<const ShiftTest>> tests;
  tests.push_back(std::make_unique<EmbeddingShiftTest>());
  tests.push_back(std::make_unique<AdjustedShiftTest>());
  tests.push_back(std::make_unique<ConditionalShiftTest>());
  tests.push_back(std::make_unique<FrechetShiftTest>());
  tests.push_back(std::make_unique<HistogramShiftTest>());
  tests.push_back(std::make_unique<HeadShiftTest>());
  tests.push_back(std::make_unique<PriorShiftTest>());
  return tests;
}

absl::StatusOr<ShiftScalars> TestSite(const Sketch& sketch,
                                      const SiteSketch& site,
                                      int64_t new_records) {
  FG_ASSIGN_OR_RETURN(const SiteView view, SiteView::Create(sketch, site));
  ShiftScalars scalars;
  for (const auto& test : AllShiftTests()) {
    FG_RETURN_IF_ERROR(test->Run(view, scalars));
  }
  scalars[std::string(kShiftRecords)] = static_cast<double>(site.n());
  scalars[std::string(kShiftNewRecords)] = static_cast<double>(new_records);
  return scalars;
}

}  // namespace fedgraft
