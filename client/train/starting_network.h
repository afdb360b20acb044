#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/model/network.h"

namespace fedgraft {

// What pretraining starts from.
struct StartingNetwork {
  std::shared_ptr<Network> network;
  std::string origin;  // for the card: "scratch", or the file's SHA-256
};

// A network with seeded values, or (with a path) with those of a safetensors
// file and a seeded head. INVALID_ARGUMENT or NOT_FOUND naming the file.
absl::StatusOr<StartingNetwork> StartNetwork(const std::string& architecture,
                                             int64_t num_classes,
                                             const std::string& path,
                                             uint64_t seed);

}  // namespace fedgraft
