#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/secagg/durable_record.h"
#include "common/base/ids.h"
#include "common/runtime/file_store.h"
#include "common/secagg/messages.h"

namespace fedgraft {

// Over which sites this one helped to unmask a sum of which statistic. Two sums
// of the same statistic over cohorts that differ by a few sites give, by
// subtraction, the sum of those few; so another sum is let out only for the
// same cohort or one that differs by at least `cohort_min` sites.
//
// Single-threaded. `files` outlives it.
class ReleasedCohorts {
 public:
  static constexpr char kPath[] = "secagg/released";  // DurableRecord

  // A missing file: none yet. DATA_LOSS: damaged; nothing may be released then.
  static absl::StatusOr<ReleasedCohorts> Load(FileStore& files);

  // PERMISSION_DENIED naming the sites that would be exposed.
  absl::Status Check(absl::string_view statistic,
                     const std::vector<SiteId>& sites, int cohort_min) const;
  // Durable once OK. Forgets statistics that begin with another run's prefix
  // (RunPrefix): their parameters do not come back.
  absl::Status Add(absl::string_view statistic,
                   const std::vector<SiteId>& sites, const RunId& run);

  // Statistics of one run's parameters begin with it.
  static std::string RunPrefix(const RunId& run);

 private:
  explicit ReleasedCohorts(DurableRecord file) : file_(std::move(file)) {}

  DurableRecord file_;
  std::vector<ReleasedCohort> cohorts_;
};

}  // namespace fedgraft
