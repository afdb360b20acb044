#include "aggregator/round/round_context.h"

#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<RunTools> MakeRunTools(const RunFacts& run,
                                      std::shared_ptr<const RunKey> key) {
  RunTools tools;
  tools.key = std::move(key);
  FG_ASSIGN_OR_RETURN(tools.train,
                      MakeUpdateForm(run.plan, *run.layout, TaskKind::kTrain));
  FG_ASSIGN_OR_RETURN(tools.evaluate, MakeUpdateForm(run.plan, *run.layout,
                                                     TaskKind::kEvaluate));
  FG_ASSIGN_OR_RETURN(tools.gather,
                      MakeUpdateForm(run.plan, *run.layout, TaskKind::kGather));
  return tools;
}

RoundContext::RoundContext(CoordinatorPorts the_ports, CoordinatorKeys the_keys,
                           CoordinatorOptions the_options)
    : ports(the_ports),
      keys(std::move(the_keys)),
      options(std::move(the_options)),
      sites(ports.clock),
      polls(ports.strand),
      off_strand(ports.executor, ports.strand) {}

bool RoundContext::IsAwaited(const SiteId& site) const {
  if (state.secure().is_on()) {
    return state.AwaitsSecurely(site) && sites.MayContribute(site);
  }
  return state.task_kind().has_value() && state.participants().contains(site) &&
         !state.contributions().contains(site) && sites.MayContribute(site);
}

absl::Status RoundContext::Refused(const SiteId& site, absl::Status refusal) {
  const auto reason = RefusalOf(refusal);
  FG_LOG_WARNING("site {} round {}: refused ({}): {}", site.value,
                 state.round().value,
                 std::string(reason ? RefusalName(*reason) : "error"),
                 std::string(refusal.message()));
  if (LiveSite* live = sites.Find(site)) {
    live->last_refusal = std::string(refusal.message());
  }
  return refusal;
}

}  // namespace fedgraft
