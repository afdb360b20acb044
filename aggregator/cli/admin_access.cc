#include "aggregator/cli/admin_access.h"

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "aggregator/admin/pki.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/net/x509.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

// The admin address that a running daemon wrote into its state folder.
absl::StatusOr<std::string> ListeningAddress(
    const pb::AggregatorConfig& config) {
  const std::string path = config.state_dir() + "/listening";
  const absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) {
    return absl::UnavailableError(absl::StrCat(
        "no aggregator has listened with this config yet (", path,
        " does not exist); start it with: fedgraft-aggregator serve"));
  }
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (absl::ConsumePrefix(&line, "admin ")) return std::string(line);
  }
  return absl::DataLossError(absl::StrCat(path, " holds no admin address"));
}

}  // namespace

void AdminAccess::AddOptions(CLI::App& command) {
  command.add_option("--config", config_path,
                     "The aggregator's config (on its machine)");
  command.add_option("--admin", address,
                     "Admin address, from elsewhere: host:port");
  command.add_option("--credentials", credentials_dir,
                     "With --admin: folder with NAME.key, NAME.pem, ca.pem");
  command.add_option("--operator", operator_name, "The operator's NAME")
      ->capture_default_str();
}

absl::StatusOr<std::unique_ptr<AdminClient>> AdminAccess::Connect() const {
  std::string to = address;
  std::string folder = credentials_dir;
  std::string ca = credentials_dir + "/ca.pem";
  if (!config_path.empty()) {
    FG_ASSIGN_OR_RETURN(const pb::AggregatorConfig config,
                        LoadAggregatorConfig(config_path));
    folder = JoinPath(config.pki_dir(), kPkiOperatorsFolder);
    ca = JoinPath(config.pki_dir(), kPkiCaFile);
    if (to.empty()) {
      FG_ASSIGN_OR_RETURN(to, ListeningAddress(config));
    }
  } else if (address.empty() || credentials_dir.empty()) {
    return absl::InvalidArgumentError(
        "give --config FILE, or --admin HOST:PORT and --credentials FOLDER");
  }
  const std::string stem = absl::StrCat(folder, "/", operator_name);
  FG_ASSIGN_OR_RETURN(const std::string pem, ReadTextFile(stem + ".pem"));
  FG_ASSIGN_OR_RETURN(const CertificateInfo info, ParseCertificate(pem));
  return AdminClient::Connect(to, TlsFiles{stem + ".key", stem + ".pem", ca},
                              info.federation);
}

}  // namespace fedgraft
