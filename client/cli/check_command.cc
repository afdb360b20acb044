#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/agent/feature_cache_setup.h"
#include "client/cli/commands.h"
#include "client/cli/program_path.h"
#include "client/net/aggregator_probe.h"
#include "client/policy/policy_config.h"
#include "common/base/status_macros.h"
#include "common/config/config_loader.h"
#include "common/net/identity.h"
#include "common/net/x509.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/system_clock.h"

namespace fedgraft {
namespace {

// Prints one line per check and remembers the first failure.
class Checklist {
 public:
  void Add(const std::string& what, const absl::Status& status,
           const std::string& detail = "") {
    std::printf(
        "%-4s %-12s %s\n", status.ok() ? "ok" : "FAIL", what.c_str(),
        status.ok() ? detail.c_str() : std::string(status.message()).c_str());
    if (first_.ok() && !status.ok()) first_ = Annotate(status, what);
  }
  const absl::Status& first() const { return first_; }

 private:
  absl::Status first_;
};

absl::StatusOr<Identity> CheckIdentity(const pb::ClientConfig& config,
                                       std::string& detail) {
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(config.identity_dir()));
  FG_ASSIGN_OR_RETURN(Identity identity, Identity::Load(*files));
  const absl::Time now = SystemClock().Wall();
  const std::string problem = DiagnoseCredentials(
      identity.certificate_pem(), AsText(identity.key_pem().span()),
      identity.ca_pem(), now);
  if (!problem.empty()) return absl::FailedPreconditionError(problem);
  detail = absl::StrCat("site ", identity.info().id, " of ",
                        identity.info().federation, ", valid until ",
                        absl::FormatTime("%Y-%m-%d", identity.info().not_after,
                                         absl::UTCTimeZone()));
  if (const auto warning = WarnOfExpiry(identity.info(), now)) {
    absl::StrAppend(&detail, " (", warning->text, ")");
  }
  return identity;
}

absl::Status Check(const std::string& config_path) {
  Checklist list;
  const absl::StatusOr<pb::ClientConfig> config = LoadClientConfig(config_path);
  list.Add("config", config.status(), config_path);
  if (!config.ok()) return list.first();
  list.Add("policy", PolicyFromConfig(config->policy()).status(), "understood");
  const absl::StatusOr<FeatureCacheSetup> cache = CheckFeatureCache(*config);
  list.Add("cache", cache.status(),
           !cache.ok() || cache->folder.empty()
               ? "none"
               : absl::StrCat(
                     cache->folder, ", at most ", cache->config.size_max_mib(),
                     " MiB, ",
                     cache->config.encrypt() ? "encrypted" : "not encrypted"));
  std::string detail;
  const absl::StatusOr<Identity> identity = CheckIdentity(*config, detail);
  list.Add("identity", identity.status(), detail);
  if (identity.ok()) {
    list.Add("aggregator", ProbeAggregator(*config, *identity),
             "answers, accepts this site");
  }
  return list.first();
}

}  // namespace

void AddCheckCommand(CLI::App& app, absl::Status& status) {
  auto path = std::make_shared<std::string>();
  CLI::App* check = app.add_subcommand(
      "check", "Check config, certificate and connection without training");
  check->add_option("--config", *path, "Config (YAML)")->required();
  check->callback([path, &status] { status = Check(*path); });
  check->footer("Example:\n  fedgraft-client check --config client.yaml");
}

}  // namespace fedgraft
