#include "client/train/starting_network.h"

#include <utility>

#include "client/model/network_state.h"
#include "client/train/path_io.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"

namespace fedgraft {

absl::StatusOr<StartingNetwork> StartNetwork(const std::string& architecture,
                                             int64_t num_classes,
                                             const std::string& path,
                                             uint64_t seed) {
  StartingNetwork start;
  FG_ASSIGN_OR_RETURN(start.network, BuildModel(architecture, num_classes));
  InitializeFromScratch(*start.network, seed);
  start.origin = "scratch";
  if (path.empty()) return start;
  FG_ASSIGN_OR_RETURN(Bytes content, ReadFile(path));
  start.origin = Sha256(content).Hex();
  FG_ASSIGN_OR_RETURN(SafetensorsFile file,
                      SafetensorsFile::Parse(std::move(content), path));
  absl::Status loaded = LoadState(file, HeadPolicy::kIgnore, *start.network);
  if (!loaded.ok()) return Annotate(loaded, path);
  return start;
}

}  // namespace fedgraft
