#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/data_source.h"

namespace fedgraft::pb {
class DataConfig;
}  // namespace fedgraft::pb

namespace fedgraft {

// Opens the source that `config.kind` names. The config has its defaults
// filled in, as the config loader does. Reads manifest and labels (an NPZ
// file wholly), but decodes no image.
//
// A context of DataUse::kTrain without classes asks for images to learn from
// without labels, which are not looked at and all -1. They are those of the
// training split; where the data name no splits, all.
//
// INVALID_ARGUMENT: an option or the content is wrong; the message names file,
// row and column, what was expected and what was found. NOT_FOUND: a file is
// missing. RESOURCE_EXHAUSTED: above a limit. FAILED_PRECONDITION: no image
// for training (DataUse::kTrain only).
absl::StatusOr<std::unique_ptr<DataSource>> OpenDataSource(
    const pb::DataConfig& config, const DataContext& context);

// The kinds of the registry, in its order; for tests of every kind.
std::vector<std::string> DataSourceKinds();

}  // namespace fedgraft
