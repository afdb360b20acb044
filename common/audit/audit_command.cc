#include "common/audit/audit_command.h"

#include <cstdio>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/audit/audit_log.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/runtime/text_file.h"

namespace fedgraft {
namespace {

struct VerifyArguments {
  std::string path;
  std::string head;
};

// Whether some line of a valid log has this hash.
bool Contains(const std::string& text, const Digest& hash) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (Sha256(AsBytes(std::string_view(line.data(), line.size()))) == hash) {
      return true;
    }
  }
  return false;
}

absl::Status Verify(const VerifyArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(arguments.path));
  FG_ASSIGN_OR_RETURN(const AuditHead head, VerifyAuditLog(text));
  if (!arguments.head.empty()) {
    FG_ASSIGN_OR_RETURN(const Digest known, Digest::FromHex(arguments.head));
    if (!Contains(text, known)) {
      return absl::DataLossError(
          absl::StrCat(arguments.path, " does not contain the head ",
                       known.Short(), ": it was cut or replaced"));
    }
  }
  std::printf(
      "%s: %llu lines, the chain holds\nhead: %s\n", arguments.path.c_str(),
      static_cast<unsigned long long>(head.lines), head.hash.Hex().c_str());
  return absl::OkStatus();
}

}  // namespace

void AddAuditVerifyCommand(CLI::App& app, absl::Status& status,
                           const std::string& program) {
  auto arguments = std::make_shared<VerifyArguments>();
  CLI::App* audit =
      app.add_subcommand("audit", "Check the audit log of what was sent");
  audit->require_subcommand(1);
  CLI::App* verify = audit->add_subcommand(
      "verify", "Check the chain of hashes and print its head");
  verify->add_option("file", arguments->path, "The audit log")->required();
  verify->add_option("--head", arguments->head,
                     "A head noted earlier: it must be in the log");
  verify->callback([arguments, &status] { status = Verify(*arguments); });
  audit->footer("Example:\n  " + program +
                " audit verify state/audit.log --head 3f…");
}

}  // namespace fedgraft
