#include "client/train/head_solving.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/train/path_io.h"
#include "client/train/progress_part.h"
#include "client/train/site_model.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"

namespace fedgraft {

absl::Status HeadSolving::TakeFeatures(Split split,
                                       const ProgressSink& progress) {
  if (head_.HasFeatures(split) || data_.Samples(split).empty()) {
    return absl::OkStatus();
  }
  FG_ASSIGN_OR_RETURN(ActivationStore * store, stores_.Images(split, progress));
  return head_.TakeFeatures(split, *store);
}

absl::StatusOr<uint64_t> HeadSolving::Answer(const TrainerSession::Solve& task,
                                             const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadFile(task.point_path));
  absl::StatusOr<SolvePoint> point = DecodeSolvePoint(content);
  if (!point.ok()) return Annotate(point.status(), task.point_path);
  FG_RETURN_IF_ERROR(TakeFeatures(Split::kTrain, Part(progress, 0, 0.6)));
  FG_RETURN_IF_ERROR(TakeFeatures(Split::kVal, Part(progress, 0.6, 0.9)));
  FG_ASSIGN_OR_RETURN(const std::vector<double> sums, head_.Statistics(*point));
  FG_RETURN_IF_ERROR(
      WriteFile(task.sums_path, {reinterpret_cast<const uint8_t*>(sums.data()),
                                 sums.size() * sizeof(double)}));
  return static_cast<uint64_t>(head_.Features(Split::kTrain).count());
}

absl::Status HeadSolving::Localise(ParameterVector& model,
                                   const ProgressSink& progress) {
  if (!head_.localises()) return absl::OkStatus();
  FG_RETURN_IF_ERROR(TakeFeatures(Split::kTrain, progress));
  const Digest shared = Sha256(EncodeTrainableSet(layout_, model));
  head_.Localise(model);
  return files_ == nullptr ? absl::OkStatus() : Keep(shared, model);
}

absl::Status HeadSolving::Keep(const Digest& shared,
                               const ParameterVector& localised) {
  const std::string name = absl::StrCat(shared.Hex(), ".safetensors");
  const auto path = [](const std::string& file) {
    return absl::StrCat(kSiteHeadFolder, "/", file);
  };
  FG_RETURN_IF_ERROR(WriteAtomically(*files_, path(name),
                                     EncodeTrainableSet(layout_, localised)));
  FG_ASSIGN_OR_RETURN(const std::vector<std::string> kept,
                      files_->List(kSiteHeadFolder));
  for (const std::string& file : kept) {
    if (file != name) FG_RETURN_IF_ERROR(files_->Remove(path(file)));
  }
  return absl::OkStatus();
}

absl::Status HeadSolving::SolveAlone(ParameterVector& model,
                                     const ProgressSink& progress) {
  FG_RETURN_IF_ERROR(TakeFeatures(Split::kTrain, Part(progress, 0, 0)));
  FG_RETURN_IF_ERROR(TakeFeatures(Split::kVal, progress));
  FG_RETURN_IF_ERROR(head_.SolveAlone(model));
  head_.Localise(model);
  return absl::OkStatus();
}

}  // namespace fedgraft
