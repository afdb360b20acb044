#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "aggregator/cli/admin_access.h"
#include "aggregator/cli/commands.h"
#include "aggregator/cli/view.h"
#include "aggregator/web/human.h"
#include "aggregator/web/page.h"
#include "aggregator/web/report_json.h"
#include "common/base/status_macros.h"
#include "common/runtime/text_file.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

struct WatchArguments {
  AdminAccess access;
  bool json = false;
  bool until_finished = false;
  std::vector<std::string> attach;
  std::string html;  // file to write
};

bool Ended(const pb::StatusReply& status) {
  return status.state() == "finished" || status.state() == "stopped";
}

int TerminalWidth() {
  winsize size{};
  if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
    return 0;
  }
  return size.ws_col;
}

// On a terminal the block of lines is drawn over itself; elsewhere a line is
// printed for every change of round or state.
class LiveView {
 public:
  void Show(const pb::StatusReply& status) {
    const int width = TerminalWidth();
    if (width == 0) {
      ShowPlain(status);
      return;
    }
    const std::string text = RenderStatus(status, width);
    if (lines_ > 0) std::printf("\x1b[%dA\x1b[J", lines_);
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
    lines_ = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

 private:
  void ShowPlain(const pb::StatusReply& status) {
    const std::string text = RenderStatus(status, 0);
    const std::string key =
        absl::StrCat(status.run_id(), status.round(), status.state());
    if (key == last_) return;
    last_ = key;
    std::printf("%s\n", text.substr(0, text.find('\n')).c_str());
    std::fflush(stdout);
  }

  int lines_ = 0;
  std::string last_;
};

absl::Status RunStatus(const WatchArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_ASSIGN_OR_RETURN(const pb::StatusReply status, client->Status(false));
  std::fputs(arguments.json ? (ReportJson(status) + "\n").c_str()
                            : RenderStatus(status, TerminalWidth()).c_str(),
             stdout);
  return absl::OkStatus();
}

absl::Status RunWatch(const WatchArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  LiveView view;
  std::string last_state;
  FG_RETURN_IF_ERROR(client->Watch([&](const pb::StatusReply& status) {
    view.Show(status);
    last_state = status.state();
    return !(arguments.until_finished && Ended(status));
  }));
  if (arguments.until_finished && last_state != "finished") {
    return absl::FailedPreconditionError(
        absl::StrCat("the run is ", last_state, ", not finished"));
  }
  return absl::OkStatus();
}

// NAME=FILE: the JSON in FILE becomes processes.NAME.
absl::StatusOr<std::string> WithAttachments(
    const std::string& report, const std::vector<std::string>& attach) {
  nlohmann::json json = nlohmann::json::parse(report);
  json["processes"]["aggregator"]["peak_rss_bytes"] =
      json["aggregator_peak_rss_bytes"];
  for (const std::string& item : attach) {
    const size_t equals = item.find('=');
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--attach \"", item, "\" is not NAME=FILE"));
    }
    const std::string path = item.substr(equals + 1);
    FG_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
    nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
    if (value.is_discarded()) {
      return absl::InvalidArgumentError(absl::StrCat(path, " is not JSON"));
    }
    json["processes"][item.substr(0, equals)] = std::move(value);
  }
  return json.dump(2);
}

absl::Status RunReport(const WatchArguments& arguments) {
  FG_ASSIGN_OR_RETURN(const auto client, arguments.access.Connect());
  FG_ASSIGN_OR_RETURN(const pb::StatusReply status, client->Status(true));
  if (status.run_id().empty()) {
    return absl::FailedPreconditionError("there is no run to report on yet");
  }
  if (!arguments.html.empty()) {
    PageOptions options;
    options.now = absl::Now();
    FG_ASSIGN_OR_RETURN(const std::string page,
                        RenderRunPage(ReportJson(status), options));
    FG_RETURN_IF_ERROR(WriteTextFile(arguments.html, page));
    if (!arguments.json) {
      std::printf("%s: the report as one page (%s)\n", arguments.html.c_str(),
                  HumanBytes(page.size()).c_str());
      return absl::OkStatus();
    }
  }
  std::string text = RenderReport(status);
  if (arguments.json) {
    FG_ASSIGN_OR_RETURN(text,
                        WithAttachments(ReportJson(status), arguments.attach));
    text.push_back('\n');
  }
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

}  // namespace

void AddWatchCommands(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<WatchArguments>();
  const auto add = [&](const char* name, const char* help,
                       absl::Status (*work)(const WatchArguments&)) {
    CLI::App* command = app.add_subcommand(name, help);
    arguments->access.AddOptions(*command);
    command->callback(
        [arguments, &status, work] { status = work(*arguments); });
    return command;
  };
  CLI::App* now = add("status", "How the run stands now", RunStatus);
  now->add_flag("--json", arguments->json, "As JSON");
  now->footer(
      "Example:\n  fedgraft-aggregator status --config "
      "aggregator.yaml");
  CLI::App* watch = add("watch", "Live progress, a line per site", RunWatch);
  watch->add_flag("--until-finished", arguments->until_finished,
                  "End with the run: exit code 0 if it finished, else 3");
  watch->footer(
      "Example:\n  fedgraft-aggregator watch --config "
      "aggregator.yaml --until-finished");
  CLI::App* report =
      add("report", "Result: per site and pooled metrics", RunReport);
  report->add_flag("--json", arguments->json, "As JSON");
  report->add_option("--attach", arguments->attach,
                     "NAME=FILE: put the JSON of FILE under processes.NAME");
  report->add_option("--html", arguments->html,
                     "FILE: write it as one HTML page, with charts, that opens "
                     "offline");
  report->footer(
      "Example:\n  fedgraft-aggregator report --config "
      "aggregator.yaml --json > result.json\n"
      "  fedgraft-aggregator report --config aggregator.yaml --html "
      "report.html");
}

}  // namespace fedgraft
