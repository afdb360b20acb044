#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "common/base/status_macros.h"
#include "common/net/identity.h"
#include "common/net/roster.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/system_clock.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

struct EnrollArguments {
  std::string identity_dir;
  std::string federation;
  std::string site;
  std::string certificate_path;
  std::string ca_path;
  std::string roster_path;
  std::string confirm;
};

absl::Status MakeRequest(const EnrollArguments& arguments, FileStore& files) {
  FG_ASSIGN_OR_RETURN(const SiteId site, SiteId::Parse(arguments.site));
  FG_ASSIGN_OR_RETURN(
      const std::string csr,
      Identity::CreateKeyAndCsr(files, arguments.federation, site));
  FG_ASSIGN_OR_RETURN(const CsrInfo info, ParseCsr(csr));
  std::printf(
      "The private key was made in %s and never leaves it.\n"
      "Send %s/%s to the aggregator's operator. They will ask you by telephone "
      "for this key fingerprint:\n  %s\n",
      arguments.identity_dir.c_str(), arguments.identity_dir.c_str(),
      std::string(kIdentityCsrFile).c_str(),
      KeyFingerprint(info.public_key).c_str());
  return absl::OkStatus();
}

absl::Status Install(const EnrollArguments& arguments, FileStore& files) {
  if (arguments.ca_path.empty()) {
    return absl::InvalidArgumentError(
        "--certificate needs --ca: the federation's ca.pem");
  }
  FG_ASSIGN_OR_RETURN(const std::string certificate,
                      ReadTextFile(arguments.certificate_path));
  FG_ASSIGN_OR_RETURN(const std::string ca, ReadTextFile(arguments.ca_path));
  FG_ASSIGN_OR_RETURN(const CertificateInfo info,
                      Identity::InstallCertificate(files, certificate, ca,
                                                   SystemClock().Wall()));
  std::printf(
      "Installed the certificate of site \"%s\" in federation \"%s\", "
      "valid until %s.\n",
      info.id.c_str(), info.federation.c_str(),
      absl::FormatTime("%Y-%m-%d", info.not_after, absl::UTCTimeZone())
          .c_str());
  return absl::OkStatus();
}

// Shows what would change; pins it when the shown hash is given back.
absl::Status PinRoster(const EnrollArguments& arguments, FileStore& files) {
  FG_ASSIGN_OR_RETURN(const std::string json,
                      ReadTextFile(arguments.roster_path));
  FG_ASSIGN_OR_RETURN(const Roster received, Roster::FromJson(json));
  FG_ASSIGN_OR_RETURN(
      PinnedRoster pinned,
      PinnedRoster::Load(files, std::string(kIdentityRosterFile)));
  if (!arguments.confirm.empty()) {
    FG_ASSIGN_OR_RETURN(const Digest confirmed,
                        Digest::FromHex(arguments.confirm));
    FG_RETURN_IF_ERROR(pinned.Accept(received, confirmed));
    std::printf("Pinned the roster of %zu sites.\n", received.keys.size());
    return absl::OkStatus();
  }
  const auto changes = CompareRosters(pinned.roster(), received);
  if (changes.empty()) {
    std::printf("The pinned roster is the same.\n");
    return absl::OkStatus();
  }
  for (const RosterChange& change : changes) {
    std::printf("%s\n", change.ToText().c_str());
  }
  std::printf(
      "Confirm each fingerprint with its hospital by telephone, then "
      "repeat with --confirm %s\n",
      received.Hash().Hex().c_str());
  return absl::OkStatus();
}

absl::Status Enroll(const EnrollArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(arguments.identity_dir));
  if (!arguments.roster_path.empty()) return PinRoster(arguments, *files);
  if (!arguments.certificate_path.empty()) return Install(arguments, *files);
  if (arguments.federation.empty() || arguments.site.empty()) {
    return absl::InvalidArgumentError(
        "give --federation and --site to make a request, --certificate and "
        "--ca to install the answer, or --roster to pin the other sites' keys");
  }
  return MakeRequest(arguments, *files);
}

}  // namespace

void AddEnrollCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<EnrollArguments>();
  CLI::App* enroll = app.add_subcommand(
      "enroll",
      "Make this site's key, install its certificate, pin the roster");
  enroll
      ->add_option("--identity", arguments->identity_dir,
                   "Folder for key and certificate")
      ->required();
  enroll->add_option("--federation", arguments->federation,
                     "Name of the federation");
  enroll->add_option("--site", arguments->site, "This site's id");
  enroll->add_option("--certificate", arguments->certificate_path,
                     "The approved certificate, to install");
  enroll->add_option("--ca", arguments->ca_path, "The federation's ca.pem");
  enroll->add_option("--roster", arguments->roster_path,
                     "roster.json from the aggregator: show what changed");
  enroll->add_option("--confirm", arguments->confirm,
                     "With --roster: pin it (the hash that was shown)");
  enroll->callback([arguments, &status] { status = Enroll(*arguments); });
  enroll->footer(
      "Examples:\n"
      "  fedgraft-client enroll --identity id --federation lungs --site "
      "st-mary\n"
      "  fedgraft-client enroll --identity id --certificate st-mary.crt "
      "--ca ca.pem\n"
      "  fedgraft-client enroll --identity id --roster roster.json");
}

}  // namespace fedgraft
