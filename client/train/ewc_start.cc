#include "client/train/ewc_start.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/train/fisher.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

constexpr char kFile[] = "ewc.safetensors";
constexpr char kStart[] = "start/";
constexpr char kFisher[] = "fisher/";

// Both, beside each other in one file.
absl::StatusOr<ParameterLayout> FileLayout(const TrainedModel& model) {
  std::vector<TensorSpec> specs;
  for (const TrainedParameter& parameter : model.parameters) {
    for (const char* part : {kStart, kFisher}) {
      specs.push_back(
          {absl::StrCat(part, parameter.name), parameter.value.sizes().vec()});
    }
  }
  return ParameterLayout::Create(std::move(specs));
}

NamedValues Part(const NamedValues& all, const std::string& part) {
  NamedValues values;
  for (const auto& [name, value] : all) {
    if (name.starts_with(part)) values[name.substr(part.size())] = value;
  }
  return values;
}

}  // namespace

absl::Status LoadEwcStart(FileStore& files, Learner& learner) {
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, kFile));
  const TrainedModel model = learner.model();
  FG_ASSIGN_OR_RETURN(const ParameterLayout layout, FileLayout(model));
  const absl::StatusOr<ParameterVector> values =
      DecodeTrainableSet(layout, content);
  if (!values.ok()) return Annotate(values.status(), kFile);
  const NamedValues named =
      ToNamedValues(layout, *values, model.compute->device);
  learner.SetRunStart(Part(named, kStart), Part(named, kFisher));
  return absl::OkStatus();
}

absl::Status TakeEwcStart(const Plan& plan, const ActivationStore& data,
                          FileStore& files, Learner& learner,
                          const ProgressSink& progress) {
  const TrainedModel model = learner.model();
  FG_ASSIGN_OR_RETURN(NamedValues fisher,
                      DiagonalFisher(model, plan.regularizers.ewc_fisher, data,
                                     plan.seed, progress));
  return KeepEwcStart(CopyValues(model.parameters), std::move(fisher), files,
                      learner);
}

absl::Status KeepEwcStart(NamedValues start, NamedValues fisher,
                          FileStore& files, Learner& learner) {
  const TrainedModel model = learner.model();
  FG_ASSIGN_OR_RETURN(const ParameterLayout layout, FileLayout(model));
  ParameterVector values(static_cast<size_t>(layout.Count()));
  for (const auto& [part, named] :
       {std::pair<std::string, const NamedValues*>{kStart, &start},
        {kFisher, &fisher}}) {
    for (const TrainedParameter& parameter : model.parameters) {
      FG_ASSIGN_OR_RETURN(const size_t index,
                          layout.Find(part + parameter.name));
      const auto value = named->find(parameter.name);
      if (value == named->end()) {
        return absl::InternalError(absl::StrCat(
            "EWC's start lacks ", part, parameter.name, ", which is trained"));
      }
      const torch::Tensor host =
          value->second.to(torch::kCPU, torch::kFloat32).contiguous();
      std::memcpy(values.data() + layout.Offset(index), host.data_ptr<float>(),
                  host.nbytes());
    }
  }
  FG_RETURN_IF_ERROR(
      WriteAtomically(files, kFile, EncodeTrainableSet(layout, values)));
  learner.SetRunStart(std::move(start), std::move(fisher));
  return absl::OkStatus();
}

}  // namespace fedgraft
