#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/model/network.h"
#include "common/base/bytes.h"
#include "common/model/parameter_layout.h"
#include "common/model/safetensors.h"

// Between a Network and the torch-free forms of its values: safetensors files
// and flat parameter vectors. Everything is matched by name.

namespace fedgraft {

enum class HeadPolicy {
  kIgnore,   // the file's head (1000 ImageNet classes, say) is not looked at
  kRequire,  // the file's head must fit the network's
};

// Sets parameters and buffers. INVALID_ARGUMENT listing every missing,
// unexpected and misshapen tensor, and non-finite values; the network is then
// unchanged. `num_batches_tracked` may be missing: it does not influence
// results.
absl::Status LoadState(const SafetensorsFile& file, HeadPolicy head,
                       Network& network);

// The whole state_dict, in the bytes of a safetensors file.
absl::StatusOr<Bytes> EncodeState(
    Network& network, const std::map<std::string, std::string>& metadata);

// All parameters and BatchNorm statistics of the network.
absl::StatusOr<ParameterLayout> WholeLayout(Network& network);

// Parameters and buffers by name, sharing storage with the network.
std::map<std::string, torch::Tensor> NamedTensors(Network& network);

// Copies `values` into the tensors that the layout names. INVALID_ARGUMENT if
// the vector is not of the layout's length, or the network lacks a tensor or
// has it in another shape (then nothing has changed).
absl::Status ApplyParameters(const ParameterLayout& layout,
                             const ParameterVector& values, Network& network);
// The opposite. INVALID_ARGUMENT as above.
absl::StatusOr<ParameterVector> ExtractParameters(const ParameterLayout& layout,
                                                  Network& network);

}  // namespace fedgraft
