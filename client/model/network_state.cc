#include "client/model/network_state.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/model/encode_tensors.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr std::string_view kCounter = "num_batches_tracked";
// More defects than this are counted, not listed.
constexpr size_t kListedMax = 10;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// One sentence part, such as `2 missing: a, b`; empty if there are none.
void AppendDefects(const char* kind, std::vector<std::string> names,
                   std::vector<std::string>& parts) {
  if (names.empty()) return;
  const size_t total = names.size();
  std::string rest;
  if (total > kListedMax) {
    names.resize(kListedMax);
    rest = absl::StrCat(" and ", total - kListedMax, " more");
  }
  parts.push_back(
      absl::StrCat(total, " ", kind, ": ", absl::StrJoin(names, ", "), rest));
}

struct Defects {
  std::vector<std::string> missing, unexpected, misshapen, unusable;

  absl::Status AsStatus() const {
    std::vector<std::string> parts;
    AppendDefects("missing", missing, parts);
    AppendDefects("unexpected", unexpected, parts);
    AppendDefects("misshapen", misshapen, parts);
    AppendDefects("unusable", unusable, parts);
    if (parts.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "tensors do not fit the architecture: ", absl::StrJoin(parts, "; ")));
  }
};

bool AllFinite(const std::vector<float>& values) {
  for (float value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

// The tensor's values as float, or why they cannot be used.
absl::StatusOr<torch::Tensor> ReadTensor(const SafetensorsFile& file,
                                         const std::string& name,
                                         const TensorView& view,
                                         const torch::Tensor& like) {
  if (like.scalar_type() == torch::kInt64) {
    if (view.dtype != DType::kI64) {
      return absl::InvalidArgumentError("is not I64");
    }
    torch::Tensor value = torch::empty(view.shape, torch::kInt64);
    std::memcpy(value.data_ptr<int64_t>(), view.data.data(), view.data.size());
    return value;
  }
  FG_ASSIGN_OR_RETURN(std::vector<float> values, file.ReadFloats(name));
  if (!AllFinite(values)) {
    return absl::InvalidArgumentError("has values that are not finite");
  }
  return torch::tensor(values).reshape(view.shape);
}

// Looks up a tensor of the layout in the network.
absl::StatusOr<torch::Tensor> FindTensor(
    const std::map<std::string, torch::Tensor>& tensors,
    const TensorSpec& spec) {
  auto it = tensors.find(spec.name);
  if (it == tensors.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the network has no tensor ", spec.name));
  }
  if (it->second.sizes().vec() != spec.shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        spec.name, " is ", ShapeText(it->second.sizes().vec()),
        " in the network, ", ShapeText(spec.shape), " in the layout"));
  }
  return it->second;
}

}  // namespace

std::map<std::string, torch::Tensor> NamedTensors(Network& network) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& item : network.named_parameters()) {
    tensors[item.key()] = item.value();
  }
  for (const auto& item : network.named_buffers()) {
    tensors[item.key()] = item.value();
  }
  return tensors;
}

absl::Status LoadState(const SafetensorsFile& file, HeadPolicy head,
                       Network& network) {
  const std::string head_prefix = network.head_prefix() + ".";
  const auto ignored = [&](const std::string& name) {
    return head == HeadPolicy::kIgnore &&
           name.compare(0, head_prefix.size(), head_prefix) == 0;
  };
  const std::map<std::string, torch::Tensor> targets = NamedTensors(network);
  Defects defects;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;
  for (const auto& [name, target] : targets) {
    if (ignored(name)) continue;
    auto it = file.tensors().find(name);
    if (it == file.tensors().end()) {
      if (!name.ends_with(kCounter)) defects.missing.push_back(name);
      continue;
    }
    if (it->second.shape != target.sizes().vec()) {
      defects.misshapen.push_back(
          absl::StrCat(name, " (", ShapeText(it->second.shape), " instead of ",
                       ShapeText(target.sizes().vec()), ")"));
      continue;
    }
    absl::StatusOr<torch::Tensor> value =
        ReadTensor(file, name, it->second, target);
    if (value.ok()) {
      copies.emplace_back(target, *std::move(value));
    } else {
      defects.unusable.push_back(
          absl::StrCat(name, " (", std::string(value.status().message()), ")"));
    }
  }
  for (const auto& [name, view] : file.tensors()) {
    if (!targets.contains(name) && !ignored(name)) {
      defects.unexpected.push_back(name);
    }
  }
  FG_RETURN_IF_ERROR(defects.AsStatus());
  torch::NoGradGuard no_grad;
  for (auto& [target, value] : copies) target.copy_(value);
  return absl::OkStatus();
}

absl::StatusOr<Bytes> EncodeState(
    Network& network, const std::map<std::string, std::string>& metadata) {
  return EncodeTensors(NamedTensors(network), metadata);
}

absl::StatusOr<ParameterLayout> WholeLayout(Network& network) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : NamedTensors(network)) {
    if (name.ends_with(kCounter)) continue;
    TensorKind kind = TensorKind::kWeight;
    if (name.ends_with(".running_mean")) kind = TensorKind::kBatchNormMean;
    if (name.ends_with(".running_var")) kind = TensorKind::kBatchNormVar;
    specs.push_back({name, tensor.sizes().vec(), kind});
  }
  return ParameterLayout::Create(std::move(specs));
}

absl::Status ApplyParameters(const ParameterLayout& layout,
                             const ParameterVector& values, Network& network) {
  if (static_cast<int64_t>(values.size()) != layout.Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the layout has ", layout.Count(), " values, the vector ",
                     values.size()));
  }
  const std::map<std::string, torch::Tensor> tensors = NamedTensors(network);
  std::vector<torch::Tensor> targets;
  for (const TensorSpec& spec : layout.tensors()) {
    FG_ASSIGN_OR_RETURN(torch::Tensor target, FindTensor(tensors, spec));
    targets.push_back(std::move(target));
  }
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < targets.size(); ++i) {
    // from_blob wants a mutable pointer but is only read here.
    float* data = const_cast<float*>(values.data()) + layout.Offset(i);
    targets[i].copy_(torch::from_blob(data, layout.tensors()[i].shape));
  }
  return absl::OkStatus();
}

absl::StatusOr<ParameterVector> ExtractParameters(const ParameterLayout& layout,
                                                  Network& network) {
  const std::map<std::string, torch::Tensor> tensors = NamedTensors(network);
  ParameterVector values(layout.Count());
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    FG_ASSIGN_OR_RETURN(torch::Tensor source,
                        FindTensor(tensors, layout.tensors()[i]));
    torch::Tensor host =
        source.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    std::memcpy(values.data() + layout.Offset(i), host.data_ptr<float>(),
                host.nbytes());
  }
  return values;
}

}  // namespace fedgraft
