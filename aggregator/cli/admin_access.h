#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "aggregator/net/admin_client.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// How an operator's command finds the aggregator: from the aggregator's own
// config on its machine, or by address and a folder of credentials elsewhere.
struct AdminAccess {
  std::string config_path;
  std::string address;
  std::string credentials_dir;  // holds <operator>.key, <operator>.pem, ca.pem
  std::string operator_name = "operator";

  void AddOptions(CLI::App& command);
  // INVALID_ARGUMENT if neither way is given in full.
  absl::StatusOr<std::unique_ptr<AdminClient>> Connect() const;
};

}  // namespace fedgraft
