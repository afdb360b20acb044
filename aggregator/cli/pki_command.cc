#include <cstdio>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/admin/pki.h"
#include "aggregator/cli/commands.h"
#include "common/base/status_macros.h"
#include "common/runtime/posix_file_store.h"
#include "common/runtime/system_clock.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

struct PkiArguments {
  std::string dir;
  PkiOptions init;
  std::string site;
  std::string csr_path;
  std::string out_path;
  std::string name;
  int days = 365;
  bool replace = false;
  std::string victim;
};

absl::Status RunInit(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(const Pki pki, Pki::Init(*files, clock, arguments.init));
  std::printf(
      "Made the CA of federation \"%s\" in %s.\n"
      "  ca.key stays here and is backed up offline; ca.pem goes to every "
      "site.\n"
      "  operators/%s.key and .pem are yours: whoever has them commands runs.\n"
      "Next: fedgraft-aggregator pki approve --dir %s --site ID --csr FILE\n",
      pki.federation().c_str(), arguments.dir.c_str(),
      arguments.init.operator_name.c_str(), arguments.dir.c_str());
  return absl::OkStatus();
}

absl::Status RunApprove(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(Pki pki, Pki::Open(*files, clock));
  ApproveRequest request;
  FG_ASSIGN_OR_RETURN(request.csr_pem, ReadTextFile(arguments.csr_path));
  FG_ASSIGN_OR_RETURN(request.site, SiteId::Parse(arguments.site));
  request.days = arguments.days;
  request.replace = arguments.replace;
  FG_ASSIGN_OR_RETURN(const Issued issued, pki.Approve(request));
  FG_RETURN_IF_ERROR(WriteTextFile(arguments.out_path, issued.certificate_pem));
  std::printf(
      "Approved site \"%s\" until %s; certificate in %s.\n"
      "Key fingerprint, to confirm with the site by telephone:\n  %s\n",
      arguments.site.c_str(),
      absl::FormatTime("%Y-%m-%d", issued.info.not_after, absl::UTCTimeZone())
          .c_str(),
      arguments.out_path.c_str(),
      KeyFingerprint(issued.info.public_key).c_str());
  return absl::OkStatus();
}

absl::Status RunRevoke(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(Pki pki, Pki::Open(*files, clock));
  FG_RETURN_IF_ERROR(pki.Revoke(arguments.victim));
  std::printf("Revoked %s. A running aggregator acts on it within a second.\n",
              arguments.victim.c_str());
  return absl::OkStatus();
}

void PrintEntry(const char* kind, const AllowListEntry& entry) {
  std::printf("%-9s %-24s %-8s until %s  %s\n", kind, entry.id.c_str(),
              entry.active ? "active" : "revoked",
              absl::FormatTime("%Y-%m-%d", entry.not_after, absl::UTCTimeZone())
                  .c_str(),
              KeyFingerprint(entry.public_key).c_str());
}

absl::Status RunList(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(const Pki pki, Pki::Open(*files, clock));
  FG_ASSIGN_OR_RETURN(const AllowListContent content, pki.List());
  std::printf("federation %s\n", content.federation.c_str());
  for (const auto& [id, entry] : content.sites) PrintEntry("site", entry);
  for (const auto& [id, entry] : content.operators) {
    PrintEntry("operator", entry);
  }
  return absl::OkStatus();
}

absl::Status RunOperator(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(Pki pki, Pki::Open(*files, clock));
  FG_RETURN_IF_ERROR(
      pki.IssueOperator(arguments.name, arguments.days).status());
  std::printf("Operator \"%s\": %s/operators/%s.key and .pem\n",
              arguments.name.c_str(), arguments.dir.c_str(),
              arguments.name.c_str());
  return absl::OkStatus();
}

absl::Status RunRenew(const PkiArguments& arguments) {
  SystemClock clock;
  FG_ASSIGN_OR_RETURN(const auto files, PosixFileStore::Open(arguments.dir));
  FG_ASSIGN_OR_RETURN(Pki pki, Pki::Open(*files, clock));
  FG_RETURN_IF_ERROR(
      pki.RenewAggregator(arguments.init.aggregator_names, arguments.days)
          .status());
  std::printf(
      "Renewed the aggregator's certificate; a running aggregator "
      "uses it for new connections within seconds.\n");
  return absl::OkStatus();
}

}  // namespace

void AddPkiCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<PkiArguments>();
  CLI::App* pki = app.add_subcommand(
      "pki", "Certificates: make the CA, approve, revoke and list sites");
  pki->require_subcommand(1);
  pki->footer(
      "Examples:\n"
      "  fedgraft-aggregator pki init --dir pki --federation lungs "
      "--name fed.example.org\n"
      "  fedgraft-aggregator pki approve --dir pki --site st-mary "
      "--csr st-mary.csr --out st-mary.crt\n"
      "  fedgraft-aggregator pki revoke --dir pki st-mary");

  const auto add = [&](const char* name, const char* help,
                       absl::Status (*run)(const PkiArguments&)) {
    CLI::App* command = pki->add_subcommand(name, help);
    command->add_option("--dir", arguments->dir, "PKI folder")->required();
    command->callback([arguments, &status, run] { status = run(*arguments); });
    return command;
  };

  CLI::App* init =
      add("init", "Make CA, aggregator and first operator", RunInit);
  init->add_option("--federation", arguments->init.federation,
                   "Name of the federation (a-z, 0-9, '-', '_')")
      ->required();
  init->add_option("--name", arguments->init.aggregator_names,
                   "DNS name or IP address of the aggregator (repeatable)")
      ->required();
  init->add_option("--operator", arguments->init.operator_name,
                   "Name of the first operator")
      ->capture_default_str();

  CLI::App* approve =
      add("approve", "Issue a site's certificate from its request (CSR)",
          RunApprove);
  approve->add_option("--site", arguments->site, "Site id")->required();
  approve->add_option("--csr", arguments->csr_path, "The site's request")
      ->required();
  approve->add_option("--out", arguments->out_path, "Where to write it")
      ->required();
  approve->add_option("--days", arguments->days, "Validity")
      ->capture_default_str();
  approve->add_flag("--replace", arguments->replace,
                    "The site has a new key, or was revoked before");

  add("revoke", "Shut a site, operator or certificate out", RunRevoke)
      ->add_option("id", arguments->victim, "Site id, operator/NAME, or serial")
      ->required();
  add("list", "Who may take part", RunList);
  CLI::App* issue =
      add("operator", "Issue an operator's key and certificate", RunOperator);
  issue->add_option("name", arguments->name, "Operator's name")->required();
  issue->add_option("--days", arguments->days, "Validity")
      ->capture_default_str();
  CLI::App* renew =
      add("renew", "Renew the aggregator's certificate", RunRenew);
  renew
      ->add_option("--name", arguments->init.aggregator_names,
                   "DNS name or IP address (repeatable)")
      ->required();
  renew->add_option("--days", arguments->days, "Validity")
      ->capture_default_str();
}

}  // namespace fedgraft
