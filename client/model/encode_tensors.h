#pragma once

#include <torch/torch.h>

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "common/base/bytes.h"

namespace fedgraft {

// Tensors of float or int64 by name, on any device, in the bytes of a
// safetensors file.
absl::StatusOr<Bytes> EncodeTensors(
    const std::map<std::string, torch::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata);

// The state_dict without the head.
absl::StatusOr<Bytes> EncodeBackbone(
    Network& network, const std::map<std::string, std::string>& metadata);

}  // namespace fedgraft
