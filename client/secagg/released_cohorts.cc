#include "client/secagg/released_cohorts.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr char kRunMark[] = "run ";

bool Begins(absl::string_view text, absl::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

std::string ReleasedCohorts::RunPrefix(const RunId& run) {
  return absl::StrCat(kRunMark, run.value, " ");
}

absl::StatusOr<ReleasedCohorts> ReleasedCohorts::Load(FileStore& files) {
  FG_ASSIGN_OR_RETURN(DurableRecord file, DurableRecord::Open(files, kPath));
  ReleasedCohorts released(std::move(file));
  if (released.file_.content().empty()) return released;
  FG_ASSIGN_OR_RETURN(released.cohorts_,
                      DecodeReleasedCohorts(released.file_.content()));
  return released;
}

absl::Status ReleasedCohorts::Check(absl::string_view statistic,
                                    const std::vector<SiteId>& sites,
                                    int cohort_min) const {
  for (const ReleasedCohort& earlier : cohorts_) {
    if (earlier.statistic != statistic || earlier.sites == sites) continue;
    std::vector<SiteId> exposed;
    std::set_symmetric_difference(sites.begin(), sites.end(),
                                  earlier.sites.begin(), earlier.sites.end(),
                                  std::back_inserter(exposed));
    if (static_cast<int>(exposed.size()) >= cohort_min) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        "a sum of ", std::string(statistic),
        " was unmasked over other sites; with this one it would expose ",
        absl::StrJoin(exposed, ", ",
                      [](std::string* out, const SiteId& site) {
                        absl::StrAppend(out, site.value);
                      }),
        ": expected the same sites, or a difference of at least ", cohort_min));
  }
  return absl::OkStatus();
}

absl::Status ReleasedCohorts::Add(absl::string_view statistic,
                                  const std::vector<SiteId>& sites,
                                  const RunId& run) {
  const auto known = [&](const ReleasedCohort& one) {
    return one.statistic == statistic && one.sites == sites;
  };
  if (std::any_of(cohorts_.begin(), cohorts_.end(), known)) {
    return absl::OkStatus();
  }
  std::vector<ReleasedCohort> next;
  for (const ReleasedCohort& one : cohorts_) {
    if (!Begins(one.statistic, kRunMark) ||
        Begins(one.statistic, RunPrefix(run))) {
      next.push_back(one);
    }
  }
  next.push_back({std::string(statistic), sites});
  FG_RETURN_IF_ERROR(file_.Write(EncodeReleasedCohorts(next)));
  cohorts_ = std::move(next);
  return absl::OkStatus();
}

}  // namespace fedgraft
