#include "aggregator/web/page.h"

#include "absl/strings/str_cat.h"
#include "aggregator/web/html.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/style.h"
#include "common/base/version.h"

namespace fedgraft {
namespace {

constexpr int kRefreshSeconds = 10;

struct Link {
  const char* id;
  const char* name;
};
constexpr Link kLinks[] = {{"attention", "Needs attention"},
                           {"sites", "Sites"},
                           {"auc", "Shared or alone"},
                           {"transfer", "Help or harm"},
                           {"convergence", "Progress"},
                           {"triage", "What differs"},
                           {"heat", "Tests"},
                           {"charts", "Change over time"},
                           {"alarms", "Alarms"},
                           {"priors", "Classes"},
                           {"scanners", "Scanners"},
                           {"drift", "Backbone"},
                           {"privacy", "Privacy"},
                           {"rounds", "Rounds"}};

std::string Document(absl::string_view title, const PageOptions& options,
                     absl::string_view header, absl::string_view main,
                     absl::string_view footer) {
  std::string refresh;
  if (options.refresh > absl::ZeroDuration()) {
    refresh = absl::StrCat("<meta http-equiv=refresh content=",
                           absl::ToInt64Seconds(options.refresh), ">");
  }
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><meta "
      "name=viewport content=\"width=device-width,initial-scale=1\">",
      refresh, "<title>", Escape(title),
      "</title><link rel=icon href=\"data:,\">"
      "<style>",
      kStyle,
      "</style></head>\n<body><a class=skip href=\"#main\">Skip to the "
      "content</a>\n<header>",
      header, "</header>\n<main id=main>\n", main, "</main>\n<footer>", footer,
      "</footer></body></html>\n");
}

std::string Navigation(const Json& report) {
  std::string list;
  for (const Link& link : kLinks) {
    // The one panel that only some runs have.
    if (link.id == absl::string_view("scanners") &&
        ScannersPanel(report).empty()) {
      continue;
    }
    absl::StrAppend(&list, "<li><a href=\"#", link.id, "\">", link.name,
                    "</a></li>");
  }
  return absl::StrCat("<nav aria-label=\"Panels of this page\"><ul>", list,
                      "</ul></nav>");
}

// "All runs", and whether the page asks again by itself.
std::string ServedLinks(const Json& report, const PageOptions& options) {
  if (!options.is_served) return "";
  std::string text = "<a href=\"/\">All runs</a>";
  if (HasEnded(report)) return text;
  if (options.refresh > absl::ZeroDuration()) {
    absl::StrAppend(&text, " &middot; updates every ",
                    absl::ToInt64Seconds(options.refresh),
                    " s, <a href=\"?\">stop that</a>");
  } else {
    absl::StrAppend(&text, " &middot; <a href=\"?refresh=", kRefreshSeconds,
                    "\">update every ", kRefreshSeconds, " s</a>");
  }
  return text;
}

std::string RunFooter(const Json& report, const PageOptions& options) {
  return absl::StrCat(
      "<p>Made ", Moment(options.now), " by FedGraft ", kVersion,
      ". Only numbers that sites let out are shown; no image and no record is "
      "known here.</p><p>Run <code>",
      Escape(TextAt(report, "run")), "</code>, plan <code>",
      Escape(TextAt(report, "plan_hash")), "</code>, model <code>",
      Escape(TextAt(report, "model_sha256")), "</code></p>");
}

}  // namespace

absl::StatusOr<std::string> RenderRunPage(absl::string_view text,
                                          const PageOptions& options) {
  const Json report =
      Json::parse(text.data(), text.data() + text.size(), /*cb=*/nullptr,
                  /*allow_exceptions=*/false);
  if (!report.is_object()) {
    return absl::InvalidArgumentError(
        "the report is no JSON object; expected what report --json prints");
  }
  const std::string plan = TextAt(report, "plan");
  const std::string state = TextAt(report, "state");
  const std::string federation = TextAt(report, "federation");
  const std::string links = ServedLinks(report, options);
  const std::string header = absl::StrCat(
      "<p class=over>Federation <b>", Escape(federation), "</b>",
      links.empty() ? "" : " &middot; ", links, "</p><h1>", Escape(plan), " ",
      Pill(StateRole(state), state), "</h1>", Navigation(report));
  const std::string main =
      absl::StrCat(SummaryPanel(report, options.now), AttentionPanel(report),
                   SitesPanel(report, options.now), ForestPanel(report),
                   TransferPanel(report), ConvergencePanel(report),
                   TriagePanel(report), HeatMapPanel(report),
                   absl::StrCat(ChartsPanel(report), AlarmsPanel(report),
                                PriorsPanel(report), ScannersPanel(report),
                                DriftPanel(report), PrivacyPanel(report),
                                RoundsPanel(report)));
  return Document(absl::StrCat(plan, " (", state, "), FedGraft"), options,
                  header, main, RunFooter(report, options));
}

RunLine SummarizeRun(const Json& report) {
  RunLine line;
  line.run = TextAt(report, "run");
  line.plan = TextAt(report, "plan");
  line.state = TextAt(report, "state");
  line.rounds_complete = ListAt(report, "history").size();
  line.rounds = WholeAt(report, "rounds");
  line.sites = ListAt(report, "sites").size();
  line.auc = NumberAt(At(report, "pooled"), "auc");
  line.alarms = ListAt(At(report, "shift"), "alarms").size();
  line.started = absl::FromUnixMillis(
      static_cast<int64_t>(WholeAt(report, "started_unix_ms")));
  return line;
}

std::string RenderIndexPage(absl::string_view federation,
                            const std::vector<RunLine>& runs,
                            const PageOptions& options) {
  static constexpr PanelText kText = {
      "runs", "Runs",
      "Every run of this federation that the aggregator still knows, the "
      "newest first.",
      "One run at most is under way. Finished runs ended as their plan says.",
      "Open a run to see its sites, its model and what differs between "
      "hospitals. Stopped: somebody ended it before its time."};
  std::string body;
  for (const RunLine& run : runs) {
    absl::StrAppend(
        &body, "<tr><th scope=row><a href=\"/runs/", Escape(run.run), "\">",
        Escape(run.plan), "</a></th><td>",
        Pill(StateRole(run.state), run.state), "</td><td class=num>",
        run.rounds_complete, " of ", run.rounds, "</td><td class=num>",
        run.sites, "</td><td class=num>", Number(run.auc, 3),
        "</td><td class=num>", run.alarms, "</td><td>", Moment(run.started),
        "</td><td><code>", Escape(run.run), "</code></td></tr>");
  }
  const std::string panel =
      runs.empty()
          ? EmptyPanel(kText, "There has been no run yet.",
                       "The researcher starts one: <code>fedgraft-aggregator "
                       "run start --config aggregator.yaml plan.yaml</code>.")
          : Panel(kText, Table("Runs, newest first",
                               Head({"Plan", "State", ">Rounds", ">Sites",
                                     ">AUC", ">Alarms", "Started", "Run"}),
                               body));
  return Document(
      absl::StrCat(federation, ", FedGraft"), options,
      absl::StrCat("<p class=over>FedGraft status page</p><h1>Federation ",
                   Escape(federation), "</h1>"),
      panel,
      absl::StrCat("<p>Made ", Moment(options.now), " by FedGraft ", kVersion,
                   ". For machines: <a href=\"/metrics\">/metrics</a> "
                   "(Prometheus).</p>"));
}

std::string RenderMessagePage(absl::string_view title, absl::string_view text) {
  return Document(
      title, {},
      absl::StrCat("<p class=over>FedGraft status page</p><h1>", Escape(title),
                   "</h1>"),
      absl::StrCat("<p>", Escape(text), " <a href=\"/\">All runs</a></p>"), "");
}

}  // namespace fedgraft
