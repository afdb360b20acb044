#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/run_folder_names.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"

// What a site keeps on disk: where it lies, which run it took part in last, and
// how a run ended.
// The last finished update of a run is a file of client/update/update_file.h.

namespace fedgraft {

// Files of one run. Paths are relative to the site's FileStore.
class RunFiles {
 public:
  // The aggregator chose the name, so it is checked before it becomes a path:
  // INVALID_ARGUMENT unless 1–64 of A–Z, a–z, 0–9, '-', '_' and '.', starting
  // with a letter or digit.
  static absl::StatusOr<RunFiles> Create(const RunId& run);

  std::string UpdatePath(TaskKind kind) const;
  std::string InitialModelPath() const {
    return folder_ + "initial.safetensors";
  }
  std::string FinalModelPath() const { return folder_ + kFinalModelFile; }
  // What was gathered before training, as long as the run lasts.
  std::string StatisticsPath() const { return folder_ + "statistics.bin"; }
  std::string SketchPath() const { return folder_ + "sketch.bin"; }
  std::string FinishedPath() const { return folder_ + "finished.json"; }
  std::string TrainerFolder() const { return folder_ + kTrainerFolder; }

 private:
  explicit RunFiles(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;  // ends with '/'
};

// Backbones, by digest, shared by runs.
std::string BackbonePath(const Digest& digest);
// Of the current task; nothing here need survive a restart.
inline constexpr char kWorkModelPath[] = "work/model.safetensors";
inline constexpr char kWorkDeltaPath[] = "work/delta.f32";
inline constexpr char kWorkSumsPath[] = "work/sums.f64";

// The run that this site prepared last. Durable once OK.
absl::Status WriteLastRun(FileStore& files, const RunId& run);
// nullopt: none, or the file is damaged (which only costs the final model of a
// run that ended while this site was away).
std::optional<RunId> ReadLastRun(FileStore& files);

// How a run ended for this site.
struct FinishedRun {
  RunId run;
  Digest model;
  uint32_t rounds = 0;
  bool stopped = false;
  bool operator==(const FinishedRun&) const = default;
};
// Durable once OK; replaces an earlier one.
absl::Status WriteFinishedRun(FileStore& files, const FinishedRun& finished);
// NOT_FOUND: the run did not finish here. DATA_LOSS naming the file: damaged.
absl::StatusOr<FinishedRun> ReadFinishedRun(FileStore& files, const RunId& run);

}  // namespace fedgraft
