#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/parameter_layout.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Of the site's own BatchNorm layers and head, and of its personal model.
inline constexpr char kLocalFolder[] = "local";
inline constexpr char kPersonalFolder[] = "personal";
// And of its control variate (site_control_variate.h).
inline constexpr char kControlFolder[] = "control";

// Tensors that a site keeps to itself (BatchNorm layers, a head, a personal
// model), one file for each round after which they were saved. Training of
// round r starts from the latest state before r, so that a round done again
// starts where it started first.
class LocalState {
 public:
  // In `folder` of `files`, which outlives this. `initial` are the values
  // before the first round.
  LocalState(FileStore& files, std::string folder, ParameterLayout layout,
             ParameterVector initial)
      : files_(files),
        folder_(std::move(folder)),
        layout_(std::move(layout)),
        initial_(std::move(initial)) {}

  const ParameterVector& initial() const { return initial_; }
  // Whether a state was saved after a round of at most `round`.
  absl::StatusOr<bool> Holds(int round) const;
  // The latest state saved after a round of at most `round`; the initial one
  // if there is none. Errors: the file cannot be read or does not fit.
  absl::StatusOr<ParameterVector> Load(int round);
  // The latest round up to `round` after which a state was saved; 0: none was.
  absl::StatusOr<int> LatestRound(int round) const;
  // Drops what was saved after later rounds than `round`.
  absl::Status DropAfter(int round);
  // Keeps the state after `round`, and drops what no repetition needs.
  absl::Status Save(int round, const ParameterVector& values);

 private:
  std::string FileName(int round) const;
  // Rounds saved so far, ascending.
  absl::StatusOr<std::vector<int>> SavedRounds() const;

  FileStore& files_;
  const std::string folder_;
  ParameterLayout layout_;
  ParameterVector initial_;
};

}  // namespace fedgraft
