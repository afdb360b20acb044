#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "aggregator/web/html.h"
#include "aggregator/web/line_chart.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/row_plot.h"
#include "aggregator/web/shift_view.h"

namespace fedgraft {
namespace {

constexpr absl::string_view kTurnOn =
    "The plan turns it on: <code>shift: {every: 1}</code> looks in every "
    "round. Sites must allow the numbers out: <code>policy: "
    "{share_site_scalars: true}</code> in their client.yaml.";

constexpr PanelText kTriage = {
    "triage", "What differs",
    "In words, what tells each site's data apart from the other sites' in the "
    "newest round that was tested: the images (covariate shift), how common "
    "the findings are (label shift), or how images that look alike are "
    "labelled (concept shift).",
    "Most sites: no difference found. Hospitals do differ, so a few are no "
    "cause for alarm.",
    "Follow the recommendation beside the site. Talk to the site before "
    "changing its training: it may know of a new scanner, protocol or reader."};

constexpr PanelText kCharts = {
    "charts", "Change over time",
    "For each test, a line per site: evidence that the site's data have "
    "changed since its own first rounds (CUSUM), as a share of the limit h at "
    "which it raises an alarm.",
    "Lines wander below the dashed limit and come back to 0. Limits are set so "
    "that a run in which nothing changes rarely raises any alarm.",
    "A line crosses the limit: ask the site what changed about when it began "
    "to climb. Once the reason is known, the chart may start anew from there."};

constexpr PanelText kPriors = {
    "priors", "How common each class is",
    "Estimated without the site's labels, from the model's outputs: the share "
    "of each class (dot, 95 % interval), against the share at the other sites "
    "(bar).",
    "Intervals cover the bar, or the site knows why not (a screening clinic "
    "sees fewer findings than an emergency department).",
    "Interval away from the bar: predictions there are too sure or not sure "
    "enough; correct them with fedgraft-client predict --prior-correction."};

constexpr PanelText kAlarms = {
    "alarms", "Alarms",
    "Every time that the evidence for a change at a site crossed its limit, "
    "newest first.",
    "None.",
    "Ask the site what changed: scanner, software, protocol, referral, "
    "labelling. If the change is to stay, train on; if it is a fault, the "
    "site mends it and its next rounds are compared anew."};

// What a person is told of a remedy's name.
absl::string_view RemedyWords(absl::string_view remedy) {
  if (remedy == "normalization") return "Check how images are taken";
  if (remedy == "prior_correction") return "Correct the shares of the classes";
  if (remedy == "personal_head") return "A head of its own";
  if (remedy == "review") return "People look first";
  return remedy.empty() || remedy == "none" ? "Nothing to do" : remedy;
}

std::string Notes(const Json& shift) {
  std::string notes;
  for (const Json& note : ListAt(shift, "notes")) {
    if (note.is_string()) {
      absl::StrAppend(&notes, "<li>", Escape(note.get<std::string>()), "</li>");
    }
  }
  if (notes.empty()) return "";
  return absl::StrCat("<div class=notes><p>What could not be said:</p><ul>",
                      notes, "</ul></div>");
}

// One line for each site on a test's chart, as a share of its limit.
LineChart::Series ChartSeries(const Json& chart,
                              const std::vector<double>& rounds) {
  LineChart::Series series;
  const double limit = NumberAt(chart, "threshold");
  const bool alarm = TextAt(chart, "state") == "alarm";
  series.role = alarm ? "bad" : "quiet";
  if (alarm) series.name = TextAt(chart, "site");
  series.y.assign(rounds.size(), kNoNumber);
  const Json& own = ListAt(chart, "rounds");
  for (size_t i = 0; i < own.size(); ++i) {
    const auto at =
        std::lower_bound(rounds.begin(), rounds.end(), AsNumber(At(own, i)));
    if (at == rounds.end() || !(limit > 0)) continue;
    const double high = AsNumber(At(ListAt(chart, "high"), i));
    const double low = AsNumber(At(ListAt(chart, "low"), i));
    series.y[at - rounds.begin()] = std::fmax(high, low) / limit;
  }
  return series;
}

std::string TestChart(const ShiftView& view, const ShiftView::Test& test,
                      const std::vector<const Json*>& charts) {
  static constexpr size_t kNamesMax = 6;
  LineChart drawing;
  drawing.title = absl::StrCat(test.title, " (", test.kind, ")");
  drawing.x = view.rounds();
  drawing.limits = {{1, "limit h"}};
  drawing.y_least = 0;
  std::vector<std::string> alarmed;
  for (const Json* chart : charts) {
    LineChart::Series series = ChartSeries(*chart, view.rounds());
    for (const Json& round : ListAt(*chart, "alarms")) {
      const auto at =
          std::lower_bound(drawing.x.begin(), drawing.x.end(), AsNumber(round));
      if (at == drawing.x.end()) continue;
      const double y = series.y[at - drawing.x.begin()];
      if (!std::isfinite(y)) continue;
      drawing.markers.push_back(
          {*at, y,
           absl::StrCat("alarm at ", TextAt(*chart, "site"), " in round ",
                        Number(*at, 0))});
    }
    if (!series.name.empty()) {
      alarmed.push_back(series.name);
      if (alarmed.size() > kNamesMax) series.name.clear();
    }
    drawing.series.push_back(std::move(series));
  }
  // Quiet lines first, so that the others lie above them.
  std::stable_sort(drawing.series.begin(), drawing.series.end(),
                   [](const auto& a, const auto& b) {
                     return (a.role == "bad") < (b.role == "bad");
                   });
  drawing.description = absl::StrCat(
      Count(charts.size(), "site"), " as a share of the alarm limit; ",
      alarmed.empty()
          ? "none is in alarm."
          : absl::StrCat("in alarm: ", absl::StrJoin(alarmed, ", "), "."));
  return RenderLineChart(drawing);
}

// What a plan with on_shift apply makes of it.
std::string Applied(const Json& triage) {
  const std::string applied = TextAt(triage, "applied");
  const std::string obstacle = TextAt(triage, "obstacle");
  if (!applied.empty()) {
    return absl::StrCat("<div>", Pill("good", "applied"), " ", Escape(applied),
                        "</div>");
  }
  if (obstacle.empty()) return "";
  return absl::StrCat("<div>", Pill("calm", "not applied"), " ",
                      Escape(obstacle), "</div>");
}

}  // namespace

std::string TriagePanel(const Json& report) {
  const Json& shift = At(report, "shift");
  const std::vector<const Json*> newest = NewestBySite(ListAt(shift, "triage"));
  if (newest.empty()) {
    return EmptyPanel(kTriage, "No site's data have been compared yet.",
                      kTurnOn, Notes(shift));
  }
  std::string rows;
  std::vector<std::string> alike;
  for (const Json* triage : newest) {
    const std::string site = TextAt(*triage, "site");
    if (ListAt(*triage, "kinds").empty()) {
      alike.push_back(site);
      continue;
    }
    absl::StrAppend(
        &rows, "<tr><th scope=row>", Escape(site), "</th><td>",
        Pill("warn", TextAt(*triage, "verdict")), "</td><td class=wrap>",
        Escape(TextAt(*triage, "reason")), "</td><td class=wrap><b>",
        Escape(RemedyWords(TextAt(*triage, "remedy"))), ".</b> ",
        Escape(TextAt(*triage, "advice")), Applied(*triage), "</td></tr>");
  }
  std::string body;
  if (!rows.empty()) {
    body = Table(
        "Sites that differ from the others",
        Head({"Site", "What differs", "Why it is said", "Recommended"}), rows);
  }
  if (!alike.empty()) {
    absl::StrAppend(&body, "<p>", Pill("good", "No difference found"), " at ",
                    Escape(absl::StrJoin(alike, ", ")), ".</p>");
  }
  return Panel(kTriage, absl::StrCat(body, Notes(shift)));
}

std::string ChartsPanel(const Json& report) {
  const Json& shift = At(report, "shift");
  const ShiftView view(shift);
  std::string figures;
  size_t learning = 0;
  for (const ShiftView::Test& test : view.tests()) {
    std::vector<const Json*> charts;
    for (const Json& chart : ListAt(shift, "charts")) {
      if (TextAt(chart, "test") != test.name) continue;
      charts.push_back(&chart);
      learning += TextAt(chart, "state") == "learning" ? 1 : 0;
    }
    if (!charts.empty()) figures += TestChart(view, test, charts);
  }
  if (figures.empty()) {
    return EmptyPanel(kCharts,
                      "There is no chart yet: a site's first rounds are its "
                      "baseline, and only rounds with new images count.",
                      kTurnOn);
  }
  const double rate = NumberAt(shift, "false_alarm_rate");
  std::string note = absl::StrCat(
      "<p class=legend><span class=\"key quiet\"></span>site <span class=\"key "
      "bad\"></span>site in alarm");
  if (rate > 0) {
    absl::StrAppendFormat(
        &note,
        " &middot; a run of %d rounds in which nothing changes raises "
        "any alarm with probability %g %%",
        WholeAt(shift, "rounds_planned"), 100 * rate);
  }
  if (learning > 0) {
    absl::StrAppend(&note, " &middot; ", Count(learning, "line"),
                    " still learning what is usual");
  }
  return Panel(kCharts, absl::StrCat("<div class=charts>", figures, "</div>",
                                     note, "</p>"));
}

std::string PriorsPanel(const Json& report) {
  const Json& shift = At(report, "shift");
  const std::vector<const Json*> priors =
      OfNewestRound(ListAt(shift, "priors"));
  if (priors.empty()) {
    return EmptyPanel(kPriors, "No estimate has been released.", kTurnOn);
  }
  // With two classes, the second one's share tells the first one's.
  const Json& classes = ListAt(shift, "classes");
  const std::string only = classes.size() == 2 && classes[1].is_string()
                               ? classes[1].get<std::string>()
                               : "";
  std::vector<double> values = {0};
  for (const Json* prior : priors) {
    for (const char* name : {"prior", "high", "reference"}) {
      values.push_back(NumberAt(*prior, name));
    }
  }
  const RowScale scale(values, 0, 1);
  std::string rows;
  for (const Json* prior : priors) {
    const std::string name = TextAt(*prior, "class");
    if (!only.empty() && name != only) continue;
    const double share = NumberAt(*prior, "prior");
    const double low = NumberAt(*prior, "low");
    const double high = NumberAt(*prior, "high");
    const double reference = NumberAt(*prior, "reference");
    const bool away = reference < low || reference > high;
    const absl::string_view role = away ? "warn" : "fed";
    Row row;
    row.title =
        absl::StrCat(name, " at ", TextAt(*prior, "site"), ": ",
                     Number(share, 2), ", elsewhere ", Number(reference, 2));
    row.ranges = {{low, high, role}};
    row.marks = {{MarkShape::kBar, reference, "loc"},
                 {MarkShape::kDot, share, role}};
    absl::StrAppend(&rows, "<tr><th scope=row>", Escape(TextAt(*prior, "site")),
                    "</th><td>", Escape(name), "</td><td class=plot>",
                    RowPlot(scale, row, kNoNumber), "</td><td class=num>",
                    WithInterval(share, low, high, 2), "</td><td class=num>",
                    Number(reference, 2), "</td><td>",
                    away ? Pill("warn", "differs") : "as elsewhere",
                    "</td></tr>");
  }
  const std::string head = absl::StrCat(
      "<tr><th scope=col>Site</th><th scope=col>Class</th><th scope=col "
      "class=plot>",
      RowAxis(scale, "Share"),
      "</th><th scope=col class=num>Estimate</th><th scope=col "
      "class=num>Elsewhere</th><th scope=col>Verdict</th></tr>");
  return Panel(kPriors, Table(absl::StrCat("Shares of the classes, round ",
                                           WholeAt(*priors[0], "round")),
                              head, rows));
}

std::string AlarmsPanel(const Json& report) {
  static constexpr size_t kShown = 200;
  const Json& shift = At(report, "shift");
  if (!shift.is_object()) {
    return EmptyPanel(kAlarms, "Nothing watches for changes in this run.",
                      kTurnOn);
  }
  const Json& alarms = ListAt(shift, "alarms");
  if (alarms.empty()) {
    return Panel(kAlarms, absl::StrCat("<p>", Pill("good", "No alarm"), " in ",
                                       Count(ListAt(shift, "rounds").size(),
                                             "tested round"),
                                       ".</p>"));
  }
  const ShiftView view(shift);
  std::string rows;
  const size_t shown = std::min(alarms.size(), kShown);
  for (size_t i = 0; i < shown; ++i) {
    const Json& alarm = alarms[alarms.size() - 1 - i];
    absl::StrAppend(&rows, "<tr><th scope=row>", WholeAt(alarm, "round"),
                    "</th><td>", Escape(TextAt(alarm, "site")), "</td><td>",
                    Escape(view.TitleOf(TextAt(alarm, "test"))), "</td><td>",
                    TextAt(alarm, "direction") == "down" ? "smaller" : "larger",
                    "</td><td class=wrap>", Escape(TextAt(alarm, "words")),
                    "</td></tr>");
  }
  return Panel(
      kAlarms,
      Table(shown < alarms.size() ? absl::StrCat("The newest ", shown, " of ",
                                                 alarms.size(), " alarms")
                                  : "Alarms, newest first",
            Head({"Round", "Site", "Test", "Difference is now", "In words"}),
            rows));
}

}  // namespace fedgraft
