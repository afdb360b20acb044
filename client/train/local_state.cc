#include "client/train/local_state.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace fedgraft {

std::string LocalState::FileName(int round) const {
  return absl::StrFormat("%s/%08d.safetensors", folder_, round);
}

absl::StatusOr<std::vector<int>> LocalState::SavedRounds() const {
  FG_ASSIGN_OR_RETURN(std::vector<std::string> names, files_.List(folder_));
  std::vector<int> rounds;
  for (const std::string& name : names) {
    int round = 0;
    if (name.ends_with(".safetensors") &&
        absl::SimpleAtoi(absl::StripSuffix(name, ".safetensors"), &round)) {
      rounds.push_back(round);
    }
  }
  return rounds;
}

absl::StatusOr<bool> LocalState::Holds(int round) const {
  FG_ASSIGN_OR_RETURN(const std::vector<int> rounds, SavedRounds());
  return !rounds.empty() && rounds.front() <= round;
}

absl::StatusOr<int> LocalState::LatestRound(int round) const {
  FG_ASSIGN_OR_RETURN(std::vector<int> rounds, SavedRounds());
  while (!rounds.empty() && rounds.back() > round) rounds.pop_back();
  return rounds.empty() ? 0 : rounds.back();
}

absl::Status LocalState::DropAfter(int round) {
  FG_ASSIGN_OR_RETURN(const std::vector<int> rounds, SavedRounds());
  for (const int saved : rounds) {
    if (saved > round) FG_RETURN_IF_ERROR(files_.Remove(FileName(saved)));
  }
  return absl::OkStatus();
}

absl::StatusOr<ParameterVector> LocalState::Load(int round) {
  FG_ASSIGN_OR_RETURN(const int latest, LatestRound(round));
  if (latest == 0) return initial_;
  const std::string name = FileName(latest);
  FG_ASSIGN_OR_RETURN(Bytes content, ReadAll(files_, name));
  absl::StatusOr<ParameterVector> values = DecodeTrainableSet(layout_, content);
  if (!values.ok()) return Annotate(values.status(), name);
  return values;
}

absl::Status LocalState::Save(int round, const ParameterVector& values) {
  FG_RETURN_IF_ERROR(WriteAtomically(files_, FileName(round),
                                     EncodeTrainableSet(layout_, values)));
  FG_ASSIGN_OR_RETURN(std::vector<int> rounds, SavedRounds());
  // This round may be asked for again, so the one before it stays; older ones
  // cannot be needed.
  int before = 0;
  for (int saved : rounds) {
    if (saved < round) before = saved;
  }
  for (int saved : rounds) {
    if (saved < before) FG_RETURN_IF_ERROR(files_.Remove(FileName(saved)));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
