#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/import/element_type.h"
#include "common/base/bytes.h"

namespace fedgraft {

struct CheckpointTensor {
  ElementType type = ElementType::kF32;
  std::vector<int64_t> shape;
};

// The named tensors of a file written by Python. Not thread-safe.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual const std::map<std::string, CheckpointTensor>& tensors() const = 0;
  // What else lies beside the tensors: "epoch (int)".
  virtual const std::vector<std::string>& others() const = 0;
  // All elements in row-major order, little-endian. REQUIRES: the tensor is
  // there. DATA_LOSS or INVALID_ARGUMENT: its bytes are not;
  // RESOURCE_EXHAUSTED: a storage of more than 8 GiB.
  virtual absl::StatusOr<Bytes> Read(const std::string& name) = 0;
};

// Opens a safetensors file or one of torch.save: the zip format, or the format
// before PyTorch 1.6. The latter holds a state_dict, alone or under the key
// "state_dict", "model_state_dict" or "model". Runs nothing that the file asks
// for (see pickle_reader.h). Messages name the file.
//
// NOT_FOUND; INVALID_ARGUMENT: another kind of file, a pickle that is refused,
// a TorchScript archive, no state_dict; RESOURCE_EXHAUSTED: above a limit;
// DATA_LOSS: truncated or a wrong checksum.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(
    const std::string& path);

}  // namespace fedgraft
