#include "client/agent/run_finisher.h"

#include <string>
#include <utility>
#include <vector>

#include "client/agent/agent_state.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {

void RunFinisher::Finish(const RunFinished& finished, Reply<Done> reply) {
  const auto files = RunFiles::Create(finished.run);
  if (!files.ok()) return reply(files.status());
  auto mark = [this, finished,
               reply = std::move(reply)](const absl::StatusOr<Done>& fetched) {
    if (!fetched.ok()) return reply(fetched.status());
    const absl::Status marked = Mark(finished);
    if (!marked.ok()) return reply(marked);
    reply(Done{});
  };
  if (finished.model_size_bytes == 0) return mark(Done{});  // stopped early
  BlobRequest blob;
  blob.digest = finished.model;
  blob.path = files->FinalModelPath();
  blob.size_bytes = finished.model_size_bytes;
  blob.size_bytes_max = blob_size_bytes_max_;
  fetcher_.Fetch(std::move(blob), guard_(std::move(mark)));
}

absl::Status RunFinisher::Mark(const RunFinished& finished) {
  FG_RETURN_IF_ERROR(WriteFinishedRun(
      ports_.files,
      {finished.run, finished.model, finished.rounds, finished.stopped}));
  FG_ASSIGN_OR_RETURN(const RunFiles files, RunFiles::Create(finished.run));
  std::vector<std::string> paths = {files.StatisticsPath()};
  for (TaskKind kind : kAllTaskKinds) paths.push_back(files.UpdatePath(kind));
  for (const std::string& path : paths) {
    const absl::Status removed = ports_.files.Remove(path);
    if (!removed.ok() && !absl::IsNotFound(removed)) {
      FG_LOG_WARNING("{}", removed.ToString());  // it only takes room
    }
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
