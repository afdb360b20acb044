#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/shift/site_view.h"
#include "common/shift/sketch.h"

namespace fedgraft {

// Named numbers that a site may release (common/shift/shift_tests.h).
using ShiftScalars = std::map<std::string, double>;

struct ShiftResult {
  double statistic = 0, dof = 0, p = 1, effect = 0;
};
void AddResult(std::string_view test, const ShiftResult& result,
               ShiftScalars& scalars);

// Compares a site with all others. Stateless; thread-safe.
class ShiftTest {
 public:
  virtual ~ShiftTest() = default;
  // Of common/shift/shift_tests.h: those whose results Run adds.
  virtual std::vector<std::string_view> names() const = 0;
  // Adds what can be said; of a test that does not apply (too few records, no
  // outputs, features that do not vary) nothing. Every number that is added is
  // finite, every p in [0, 1]. Other errors are the caller's.
  virtual absl::Status Run(const SiteView& view,
                           ShiftScalars& scalars) const = 0;
};

// All of them: the list that one more test is added to.
std::vector<std::unique_ptr<const ShiftTest>> AllShiftTests();

// All tests of a site, with kShiftRecords and kShiftNewRecords. `site` has
// summed up for every stage of `sketch`, which is done. `new_records`: how many
// of its records no earlier sketch had. INVALID_ARGUMENT: sums that do not
// belong together. FAILED_PRECONDITION: fewer than kSketchSitesMin sites.
absl::StatusOr<ShiftScalars> TestSite(const Sketch& sketch,
                                      const SiteSketch& site,
                                      int64_t new_records);

}  // namespace fedgraft
