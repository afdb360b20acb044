#include "aggregator/net/run_keeper.h"

#include <memory>
#include <utility>

#include "aggregator/web/report_json.h"
#include "common/base/logging.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);

}  // namespace

void RunKeeper::Changed() {
  if (std::exchange(due_, true)) return;
  ports_.strand.After(kInterval, [this] {
    due_ = false;
    Look();
  });
}

void RunKeeper::Look() {
  if (closed_) return;
  const pb::StatusReply now = status_(/*with_history=*/false);
  const bool ended = now.state() == "finished" || now.state() == "stopped";
  if (!ended || now.run_id().empty() || now.run_id() == handed_ ||
      ports_.archive.Has(now.run_id())) {
    return;
  }
  handed_ = now.run_id();
  auto status =
      std::make_shared<const pb::StatusReply>(status_(/*with_history=*/true));
  ports_.executor.Run(
      [&archive = ports_.archive, status, time = ports_.clock.Wall()] {
        const absl::Status kept = archive.Keep(ReportJson(*status), time);
        if (!kept.ok()) {
          FG_LOG_WARNING("report of run {} not kept: {}", status->run_id(),
                         std::string(kept.message()));
        }
      });
}

}  // namespace fedgraft
