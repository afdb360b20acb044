#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/html.h"
#include "aggregator/web/human.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/row_plot.h"

namespace fedgraft {
namespace {

constexpr size_t kRoundsShown = 500;

std::string Tile(absl::string_view name, absl::string_view value,
                 absl::string_view more) {
  return absl::StrCat("<div class=tile><dt>", name, "</dt><dd>", value,
                      more.empty() ? "" : "<small>", more,
                      more.empty() ? "" : "</small>", "</dd></div>");
}

double SumOf(const Json& list, const char* name) {
  double sum = 0;
  for (const Json& item : list) sum += static_cast<double>(WholeAt(item, name));
  return sum;
}

std::string Bytes(double bytes) {
  return HumanBytes(static_cast<uint64_t>(bytes));
}

size_t Connected(const Json& report) {
  size_t count = 0;
  for (const Json& site : ListAt(report, "sites")) {
    count += TrueAt(site, "connected") ? 1 : 0;
  }
  return count;
}

absl::Time SeenAt(const Json& site) {
  return absl::FromUnixMillis(
      static_cast<int64_t>(WholeAt(site, "last_seen_unix_ms")));
}

std::string TimeTile(const Json& report, absl::Time now) {
  const absl::Time started = absl::FromUnixMillis(
      static_cast<int64_t>(WholeAt(report, "started_unix_ms")));
  const std::string since = started > absl::UnixEpoch()
                                ? absl::StrCat("started ", Moment(started))
                                : "";
  if (HasEnded(report)) {
    double seconds = 0;
    for (const Json& round : ListAt(report, "history")) {
      const double one = NumberAt(round, "seconds");
      if (one > 0) seconds += one;
    }
    return Tile("Time in rounds", HumanSeconds(seconds), since);
  }
  const double eta = NumberAt(report, "eta_seconds");
  if (eta > 0) {
    return Tile("Time left, about", HumanSeconds(eta), since);
  }
  if (started <= absl::UnixEpoch()) return "";
  return Tile("Running for", HumanSeconds(absl::ToDoubleSeconds(now - started)),
              since);
}

std::string SeenText(const Json& site, absl::Time now) {
  const absl::Time seen = SeenAt(site);
  if (seen <= absl::UnixEpoch()) return "not since the start";
  const absl::Duration ago = std::max(now - seen, absl::ZeroDuration());
  if (ago > absl::Hours(24)) return Moment(seen);
  if (ago < absl::Seconds(1)) return "just now";
  return HumanSeconds(
             absl::ToDoubleSeconds(absl::Floor(ago, absl::Seconds(1)))) +
         " ago";
}

}  // namespace

bool HasEnded(const Json& report) {
  const std::string state = TextAt(report, "state");
  return state == "finished" || state == "stopped";
}

std::string Pill(absl::string_view role, absl::string_view text) {
  return absl::StrCat("<span class=\"pill ", role, "\">", Escape(text),
                      "</span>");
}

absl::string_view StateRole(absl::string_view state) {
  if (state == "finished") return "good";
  if (state == "storage error") return "bad";
  if (state == "stopped" || state == "paused") return "warn";
  return "calm";
}

std::string SummaryPanel(const Json& report, absl::Time now) {
  const Json& sites = ListAt(report, "sites");
  const Json& pooled = At(report, "pooled");
  const uint64_t rounds = WholeAt(report, "rounds");
  const Json& history = ListAt(report, "history");
  const size_t complete = history.size();
  std::string tiles = Tile(
      "Rounds complete", absl::StrCat(complete, " of ", rounds),
      ShareBar(rounds == 0 ? 0 : double(complete) / double(rounds), "fed",
               absl::StrCat(complete, " of ", rounds, " rounds are complete")));
  absl::StrAppend(
      &tiles,
      Tile(HasEnded(report) ? "Sites" : "Sites connected",
           HasEnded(report)
               ? absl::StrCat(sites.size())
               : absl::StrCat(Connected(report), " of ", sites.size()),
           absl::StrCat("a round needs ", WholeAt(report, "quorum"))),
      Tile("AUC, all sites together", Number(NumberAt(pooled, "auc"), 3),
           std::isfinite(NumberAt(pooled, "auc_low"))
               ? absl::StrCat("95 % interval ",
                              Number(NumberAt(pooled, "auc_low"), 3), " to ",
                              Number(NumberAt(pooled, "auc_high"), 3))
               : "not evaluated yet"),
      TimeTile(report, now),
      Tile(
          "Received in rounds", Bytes(SumOf(history, "bytes_up")),
          absl::StrCat("sent to sites ", Bytes(SumOf(history, "bytes_down")))));
  return absl::StrCat("<dl class=tiles>", tiles, "</dl>\n");
}

std::string SitesPanel(const Json& report, absl::Time now) {
  static constexpr PanelText kText = {
      "sites", "Sites",
      "Each hospital that takes part: what it is doing, how many images it "
      "tests on, how much it has sent, and what the aggregator last refused.",
      "Every site is connected and contributes in every round; nothing is "
      "refused.",
      "Not connected for more than a minute: ask the site whether its client "
      "runs and its firewall lets it out. Refused: the reason names the check; "
      "the site's own log tells more."};
  const Json& sites = ListAt(report, "sites");
  if (sites.empty()) {
    return EmptyPanel(kText, "No site has called yet.",
                      "Sites appear here once they are approved "
                      "(<code>pki approve</code>) and their client "
                      "runs.");
  }
  const bool ended = HasEnded(report);
  const Json& history = ListAt(report, "history");
  const Json& influence =
      history.empty() ? Json() : At(history.back(), "influence");
  std::string rows;
  for (const Json& site : sites) {
    const std::string name = TextAt(site, "site");
    const std::string refusal = TextAt(site, "last_refusal");
    const uint64_t refusals = WholeAt(site, "refusals");
    const bool connected = TrueAt(site, "connected");
    std::string state = connected || ended ? Escape(TextAt(site, "state"))
                                           : Pill("warn", "not connected");
    const double progress = NumberAt(site, "progress");
    if (!ended && connected && progress > 0 && progress < 1) {
      absl::StrAppendFormat(&state, " %.0f %%", 100 * progress);
    }
    absl::StrAppend(
        &rows, "<tr><th scope=row>", Escape(name), "</th><td>", state,
        "</td><td class=num>", Number(NumberAt(At(site, "scalars"), "n"), 0),
        "</td><td class=num>", WholeAt(site, "rounds"), "</td><td class=num>",
        HumanBytes(WholeAt(site, "bytes_received")), "</td><td class=num>",
        HumanBytes(WholeAt(site, "bytes_sent")), "</td>");
    if (influence.is_object() && !influence.empty()) {
      absl::StrAppend(&rows, "<td class=num>",
                      Number(NumberAt(influence, name), 2), "</td>");
    }
    absl::StrAppend(
        &rows, "<td>", SeenText(site, now), "</td><td class=wrap>",
        refusal.empty()
            ? (refusals == 0 ? "none" : "")
            : Pill("warn",
                   refusals > 1 ? absl::StrCat(refusals, " times") : "refused"),
        refusal.empty() ? "" : " ", Escape(refusal), "</td></tr>");
  }
  std::string head =
      influence.is_object() && !influence.empty()
          ? Head({"Site", "Now", ">Test images", ">Rounds", ">Received",
                  ">Sent", ">Weight", "Last heard", "Refused"})
          : Head({"Site", "Now", ">Test images", ">Rounds", ">Received",
                  ">Sent", "Last heard", "Refused"});
  return Panel(kText, Table(influence.empty()
                                ? "Sites of this run"
                                : "Sites of this run. Weight: part of the "
                                  "newest round's result; 1 is an even share",
                            head, rows));
}

std::string RoundsPanel(const Json& report) {
  static constexpr PanelText kText = {
      "rounds", "Rounds",
      "Every round that is complete: who contributed, how long it took, what "
      "moved over the network.",
      "The same sites each time; times and bytes alike. Cut values: 0.",
      "Rounds that grow slower: a site's machine or line. A site missing: see "
      "Sites. Cut values above 0 in many rounds: raise update.range in the "
      "plan."};
  const Json& history = ListAt(report, "history");
  if (history.empty()) {
    return EmptyPanel(kText, "No round is complete yet.",
                      "The first one ends when at least as many sites "
                      "have contributed as the plan's quorum.");
  }
  std::string rows;
  const size_t shown = std::min(history.size(), kRoundsShown);
  for (size_t i = 0; i < shown; ++i) {
    const Json& round = history[history.size() - 1 - i];
    const Json& metrics = At(round, "metrics");
    absl::StrAppend(
        &rows, "<tr><th scope=row>", WholeAt(round, "round"),
        "</th><td class=num>", ListAt(round, "sites").size(),
        "</td><td class=num>",
        HumanSeconds(std::max(NumberAt(round, "seconds"), 0.0)),
        "</td><td class=num>", HumanBytes(WholeAt(round, "bytes_up")),
        "</td><td class=num>", HumanBytes(WholeAt(round, "bytes_down")),
        "</td><td class=num>", WholeAt(round, "saturated"),
        "</td><td class=num>", Number(NumberAt(metrics, "auc"), 3),
        "</td><td class=num>", Number(NumberAt(metrics, "loss"), 4),
        "</td></tr>");
  }
  const std::string table =
      Table(shown < history.size()
                ? absl::StrCat("The newest ", shown, " of ", history.size(),
                               " rounds, newest first")
                : "Rounds, newest first",
            Head({"Round", ">Sites", ">Time", ">Received", ">Sent",
                  ">Cut values", ">AUC", ">Loss"}),
            rows);
  return Panel(kText, history.size() <= 12
                          ? table
                          : absl::StrCat("<details><summary>Show ",
                                         Count(shown, "round"), "</summary>",
                                         table, "</details>"));
}

}  // namespace fedgraft
