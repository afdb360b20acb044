#include "common/model/control_variates.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"
#include "common/model/safetensors_header.h"

namespace fedgraft {

absl::StatusOr<ParameterLayout> AddControlVariates(
    const ParameterLayout& parameters) {
  std::vector<TensorSpec> tensors = parameters.tensors();
  for (const TensorSpec& tensor : parameters.tensors()) {
    if (tensor.name.starts_with(kControlVariatePrefix)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor ", tensor.name, ": expected no parameter of such a name"));
    }
    if (tensor.kind != TensorKind::kWeight) continue;
    tensors.push_back({std::string(kControlVariatePrefix) + tensor.name,
                       tensor.shape, TensorKind::kWeight});
  }
  return ParameterLayout::Create(std::move(tensors));
}

absl::StatusOr<ParameterLayout> ControlVariateLayout(
    const ParameterLayout& parameters) {
  std::vector<TensorSpec> tensors;
  for (const TensorSpec& tensor : parameters.tensors()) {
    if (tensor.kind == TensorKind::kWeight) tensors.push_back(tensor);
  }
  return ParameterLayout::Create(std::move(tensors));
}

ControlVariates::ControlVariates(const ParameterLayout& layout) {
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    if (!tensor.name.starts_with(kControlVariatePrefix)) continue;
    if (count_ == 0) begin_ = static_cast<uint64_t>(layout.Offset(i));
    count_ += static_cast<uint64_t>(tensor.Count());
  }
}

ParameterVector ControlVariates::Of(const ParameterVector& values) const {
  FG_CHECK(begin_ + count_ <= values.size());
  const auto first = values.begin() + static_cast<ptrdiff_t>(begin_);
  return {first, first + static_cast<ptrdiff_t>(count_)};
}

ParameterVector ControlVariates::Rest(const ParameterVector& values) const {
  FG_CHECK(begin_ + count_ <= values.size());
  ParameterVector rest = values;
  const auto first = rest.begin() + static_cast<ptrdiff_t>(begin_);
  rest.erase(first, first + static_cast<ptrdiff_t>(count_));
  return rest;
}

ParameterVector ControlVariates::Join(const ParameterVector& rest,
                                      const ParameterVector& variates) const {
  FG_CHECK(begin_ <= rest.size() && variates.size() == count_);
  ParameterVector values = rest;
  values.insert(values.begin() + static_cast<ptrdiff_t>(begin_),
                variates.begin(), variates.end());
  return values;
}

absl::StatusOr<ParameterVector> DecodeParameters(
    const ParameterLayout& parameters, ByteSpan content) {
  FG_ASSIGN_OR_RETURN(const SafetensorsHeader header,
                      ParseSafetensorsHeader(content, "of a trainable set"));
  for (const auto& [name, view] : header.tensors) {
    if (!name.starts_with(kControlVariatePrefix)) continue;
    FG_ASSIGN_OR_RETURN(const ParameterLayout layout,
                        AddControlVariates(parameters));
    FG_ASSIGN_OR_RETURN(const ParameterVector values,
                        DecodeTrainableSet(layout, content));
    return ControlVariates(layout).Rest(values);
  }
  return DecodeTrainableSet(parameters, content);
}

}  // namespace fedgraft
