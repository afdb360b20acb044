#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Activations of images that were computed before, by the SHA-256 of the
// preprocessed image.
struct CachedActivations {
  std::map<Digest, int64_t> rows;
  torch::Tensor values;  // [rows, ...], float on the CPU
};

// NOT_FOUND: no such file; DATA_LOSS: its content is not what was written.
absl::StatusOr<CachedActivations> ReadActivations(FileStore& files,
                                                  const std::string& name);
// Replaces the file. `values` [images.size(), ...].
absl::Status WriteActivations(FileStore& files, const std::string& name,
                              const std::vector<Digest>& images,
                              const torch::Tensor& values);

}  // namespace fedgraft
