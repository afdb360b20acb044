#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/import/checkpoint.h"

namespace fedgraft {

// With these bytes begins every file of torch.save before PyTorch 1.6: a pickle
// (protocol 2) of its magic number.
inline constexpr std::string_view kLegacyTorchStart(
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);

// A zip file with <name>/data.pkl and the storages as <name>/data/<key>.
// Storages are read when a tensor is asked for. Errors as OpenCheckpoint.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenTorchArchive(
    const std::string& path);

// The magic number, a version, facts of the machine, the object, the keys of
// the storages (five pickles), then each storage as u64 count and its elements.
// Read as a whole, at most 8 GiB.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenLegacyTorchFile(
    const std::string& path);

}  // namespace fedgraft
