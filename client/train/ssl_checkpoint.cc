#include "client/train/ssl_checkpoint.h"

#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/model/encode_tensors.h"
#include "client/train/path_io.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

constexpr const char* kFormat = "fedgraft-ssl-checkpoint/1";

// Doubles that come back with the same bits.
std::string Exact(double value) { return absl::StrFormat("%.17g", value); }

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": expected a checkpoint of self-supervised training; ", what,
      "; remove the file to begin anew"));
}

absl::StatusOr<SslCheckpoint> ParseFacts(
    const std::map<std::string, std::string>& facts) {
  const auto get = [&facts](const char* key) {
    const auto it = facts.find(key);
    return it == facts.end() ? std::string() : it->second;
  };
  if (get("format") != kFormat) {
    return absl::InvalidArgumentError(
        absl::StrCat("its format is \"", get("format"), "\""));
  }
  SslCheckpoint checkpoint;
  FG_ASSIGN_OR_RETURN(checkpoint.task, Digest::FromHex(get("task")));
  bool good = absl::SimpleAtoi(get("step"), &checkpoint.step) &&
              checkpoint.step >= 1 &&
              absl::SimpleAtod(get("loss_sum"), &checkpoint.loss_sum);
  for (const absl::string_view text :
       absl::StrSplit(get("epoch_losses"), ',', absl::SkipEmpty())) {
    good =
        good && absl::SimpleAtod(text, &checkpoint.epoch_losses.emplace_back());
  }
  if (!good) return absl::InvalidArgumentError("step or losses are no numbers");
  return checkpoint;
}

// The values of one tensor of the file, or why they do not fit `like`.
absl::StatusOr<torch::Tensor> ReadLike(const SafetensorsFile& file,
                                       const std::string& name,
                                       const torch::Tensor& like) {
  const auto it = file.tensors().find(name);
  if (it == file.tensors().end()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is missing"));
  }
  const bool whole = like.scalar_type() == torch::kInt64;
  const TensorView& view = it->second;
  torch::Tensor value =
      torch::empty(like.sizes(), whole ? torch::kInt64 : torch::kFloat32);
  if (view.shape != like.sizes().vec() ||
      view.dtype != (whole ? DType::kI64 : DType::kF32) ||
      view.data.size() != value.nbytes()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has another shape or type"));
  }
  std::memcpy(value.data_ptr(), view.data.data(), view.data.size());
  return value;
}

}  // namespace

absl::Status WriteCheckpoint(
    const std::string& path, const SslCheckpoint& checkpoint,
    const std::map<std::string, torch::Tensor>& tensors) {
  const auto append = [](std::string* out, double value) {
    absl::StrAppend(out, Exact(value));
  };
  FG_ASSIGN_OR_RETURN(
      const Bytes content,
      EncodeTensors(tensors,
                    {{"format", kFormat},
                     {"task", checkpoint.task.Hex()},
                     {"step", absl::StrCat(checkpoint.step)},
                     {"loss_sum", Exact(checkpoint.loss_sum)},
                     {"epoch_losses",
                      absl::StrJoin(checkpoint.epoch_losses, ",", append)}}));
  return WriteFile(path, content);
}

absl::StatusOr<SslCheckpoint> ReadCheckpoint(
    const std::string& path, const Digest& task,
    const std::map<std::string, torch::Tensor>& tensors) {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadFile(path));
  absl::StatusOr<SafetensorsFile> file =
      SafetensorsFile::Parse(std::move(content), path);
  if (!file.ok()) return Damaged(path, std::string(file.status().message()));
  absl::StatusOr<SslCheckpoint> checkpoint = ParseFacts(file->metadata());
  if (!checkpoint.ok()) {
    return Damaged(path, std::string(checkpoint.status().message()));
  }
  if (checkpoint->task != task) {
    return absl::FailedPreconditionError(absl::StrCat(
        path,
        " is of a training with other options or images; repeat those, or "
        "remove the file to begin anew"));
  }
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  for (const auto& [name, target] : tensors) {
    absl::StatusOr<torch::Tensor> value = ReadLike(*file, name, target);
    if (!value.ok())
      return Damaged(path, std::string(value.status().message()));
    copies.emplace_back(target, *std::move(value));
  }
  torch::NoGradGuard no_grad;
  for (auto& [target, value] : copies) target.copy_(value);
  return checkpoint;
}

}  // namespace fedgraft
