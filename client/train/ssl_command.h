#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/train/self_supervised.h"
#include "common/runtime/clock.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// The options of `pretrain` that only simclr and vicreg have. `options`
// outlives the parsing.
void AddSslOptions(CLI::App& command, SelfSupervisedOptions& options);

// INVALID_ARGUMENT naming an option that was given and is none of the method's
// (simclr, vicreg or supervised). After the parsing.
absl::Status CheckSslOptions(const CLI::App& command,
                             const std::string& method);

// Trains on the images of the YAML file `data_path`, with progress on standard
// output. `restart`: a checkpoint is removed, once the data are open.
absl::Status RunSsl(const SelfSupervisedOptions& options,
                    const std::string& data_path, bool restart,
                    const Clock& clock);

}  // namespace fedgraft
