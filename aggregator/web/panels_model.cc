#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/html.h"
#include "aggregator/web/line_chart.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/row_plot.h"

namespace fedgraft {
namespace {

constexpr PanelText kForest = {
    "auc", "Shared model against each site's own",
    "How well the shared model tells the classes apart on each site's own test "
    "images: dot, with its 95 % interval. Ring: a model that the site trained "
    "alone. AUC: 0.5 is guessing, 1 is perfect.",
    "Dots lie right of rings, most of all at small sites. Few test images make "
    "long intervals.",
    "A ring clearly right of the interval: the site would do better alone; see "
    "Help or harm. An interval across 0.5: too few test images, or labels that "
    "mean something else there."};

constexpr PanelText kConvergence = {
    "convergence", "Progress of the shared model",
    "Measures over all sites' evaluation images together, round by round; the "
    "band is a 95 % interval.",
    "Loss falls and flattens, AUC rises and flattens.",
    "Loss rises or jumps: lower the learning rate or the local epochs. Flat "
    "from the start: the plan trains too little, or the labels do not match "
    "the images."};

constexpr PanelText kDrift = {
    "drift", "How far the backbone has moved",
    "For each stage of the backbone, from the input on, how much of what it "
    "told before training is lost (1 - CKA): diamond, over all sites' images; "
    "line, from the least to the most of the sites.",
    "Exactly 0 at frozen stages, growing towards the last stage.",
    "Above 0.5 early in the network: the pretrained features are being lost; "
    "freeze more blocks, or lower the learning rate. Sites far apart: they "
    "pull in different directions; see What differs."};

struct SiteAuc {
  std::string site;
  double n, local, auc, low, high, local_low, local_high;
};

SiteAuc AucOf(std::string site, const Json& scalars) {
  return {std::move(site),
          NumberAt(scalars, "n"),
          NumberAt(scalars, "local_auc"),
          NumberAt(scalars, "auc"),
          NumberAt(scalars, "auc_low"),
          NumberAt(scalars, "auc_high"),
          NumberAt(scalars, "local_auc_low"),
          NumberAt(scalars, "local_auc_high")};
}

std::string AucRow(const SiteAuc& site, const RowScale& scale, bool pooled) {
  Row row;
  row.title = absl::StrCat(site.site, ": shared model ", Number(site.auc, 3),
                           ", interval ", Number(site.low, 3), " to ",
                           Number(site.high, 3));
  if (std::isfinite(site.local)) {
    absl::StrAppend(&row.title, "; alone ", Number(site.local, 3));
  }
  row.ranges = {{site.low, site.high, "fed"}};
  // The ring above the dot: alike values show as a dot in a ring.
  row.marks = {
      {pooled ? MarkShape::kDiamond : MarkShape::kDot, site.auc, "fed"},
      {MarkShape::kRing, site.local, "loc"}};
  // Rounded as it is shown, so that there is no -0.000.
  const double gain = std::round(1000 * (site.auc - site.local)) / 1000 + 0.0;
  return absl::StrCat(
      pooled ? "<tr class=total>" : "<tr>", "<th scope=row>", Escape(site.site),
      "</th><td class=num>", Number(site.n, 0), "</td><td class=plot>",
      RowPlot(scale, row, 0.5), "</td><td class=num>",
      WithInterval(site.auc, site.low, site.high, 3), "</td><td class=num>",
      Number(site.local, 3), "</td><td class=num>",
      std::isfinite(gain) ? absl::StrFormat("%+.3f", gain)
                          : Number(kNoNumber, 3),
      "</td></tr>");
}

LineChart MetricChart(const Json& history, const char* name,
                      absl::string_view title) {
  LineChart chart;
  chart.title = std::string(title);
  LineChart::Series series{"", "fed", {}, {}, {}};
  for (const Json& round : history) {
    const Json& metrics = At(round, "metrics");
    const double value = NumberAt(metrics, name);
    if (!std::isfinite(value)) continue;
    chart.x.push_back(NumberAt(round, "round"));
    series.y.push_back(value);
    series.low.push_back(NumberAt(metrics, absl::StrCat(name, "_low")));
    series.high.push_back(NumberAt(metrics, absl::StrCat(name, "_high")));
  }
  if (!chart.x.empty()) {
    chart.description = absl::StrFormat(
        "%s in %s: %s first, %s at last, in round %.0f.", chart.title,
        Count(chart.x.size(), "evaluated round"), ShortNumber(series.y.front()),
        ShortNumber(series.y.back()), chart.x.back());
  }
  chart.series.push_back(std::move(series));
  return chart;
}

}  // namespace

std::string ForestPanel(const Json& report) {
  std::vector<SiteAuc> sites;
  std::vector<double> values;
  const auto take = [&](const SiteAuc& site) {
    for (const double value : {site.auc, site.low, site.high, site.local}) {
      values.push_back(value);
    }
  };
  for (const Json& site : ListAt(report, "sites")) {
    sites.push_back(AucOf(TextAt(site, "site"), At(site, "scalars")));
    take(sites.back());
  }
  const bool any =
      std::any_of(sites.begin(), sites.end(),
                  [](const SiteAuc& site) { return std::isfinite(site.auc); });
  if (!any) {
    return EmptyPanel(
        kForest, "No site has told its AUC.",
        "A site decides for itself: <code>policy: {share_site_scalars: "
        "true}</code> in its client.yaml. For the rings, the plan needs "
        "<code>evaluation: {compare_local: true}</code>. Both are told "
        "after the last evaluation of a run.");
  }
  const SiteAuc pooled = AucOf("all sites", At(report, "pooled"));
  take(pooled);
  const RowScale scale(values, 0, 1);
  std::string rows;
  for (const SiteAuc& site : sites) {
    if (std::isfinite(site.auc) || std::isfinite(site.local)) {
      rows += AucRow(site, scale, false);
    }
  }
  if (std::isfinite(pooled.auc)) rows += AucRow(pooled, scale, true);
  const std::string head = absl::StrCat(
      "<tr><th scope=col>Site</th><th scope=col class=num>Test images</th><th "
      "scope=col class=plot>",
      RowAxis(scale, "AUC"),
      "</th><th scope=col class=num>Shared</th><th scope=col "
      "class=num>Alone</th><th scope=col class=num>Gain</th></tr>");
  return Panel(
      kForest,
      absl::StrCat(
          Table("AUC of the shared model and of each site alone", head, rows),
          "<p class=legend><span class=\"key dot\"></span>shared "
          "model, 95 % interval <span class=\"key "
          "ring\"></span>trained alone <span class=\"key "
          "diamond\"></span>all sites together</p>"));
}

std::string ConvergencePanel(const Json& report) {
  const Json& history = ListAt(report, "history");
  std::string charts;
  LineChart auc = MetricChart(history, "auc", "AUC (higher is better)");
  auc.y_least = 0;
  auc.y_most = 1;
  charts += RenderLineChart(auc);
  charts +=
      RenderLineChart(MetricChart(history, "loss", "Loss (lower is better)"));
  LineChart balanced = MetricChart(history, "balanced_accuracy",
                                   "Balanced accuracy (higher is better)");
  balanced.y_least = 0;
  balanced.y_most = 1;
  charts += RenderLineChart(balanced);
  if (charts.empty()) {
    charts = RenderLineChart(MetricChart(
        history, "solve_objective", "Objective of the solver, per lambda"));
  }
  if (charts.empty()) {
    return EmptyPanel(kConvergence, "No model has been evaluated yet.",
                      "The plan says how often: <code>evaluation: {every: "
                      "5}</code>. With -1 it is never done.");
  }
  return Panel(kConvergence,
               absl::StrCat("<div class=charts>", charts, "</div>"));
}

std::string DriftPanel(const Json& report) {
  const Json& drift = ListAt(At(report, "transfer"), "drift");
  if (!drift.is_array() || drift.empty()) {
    return EmptyPanel(
        kDrift, "No site has told its drift.",
        "It is measured at the end of a run with <code>evaluation: "
        "{compare_local: true}</code>, at sites with <code>policy: "
        "{share_site_scalars: true}</code>. A plan without a backbone "
        "has none.");
  }
  std::vector<double> values = {0};
  for (const Json& stage : drift) {
    values.push_back(NumberAt(stage, "most"));
    values.push_back(NumberAt(stage, "pooled"));
  }
  const RowScale scale(values, 0, 1);
  std::string rows;
  for (const Json& stage : drift) {
    const std::string name = TextAt(stage, "stage");
    const double pooled = NumberAt(stage, "pooled");
    const double mean = NumberAt(stage, "mean");
    const double centre = std::isfinite(pooled) ? pooled : mean;
    const double least = NumberAt(stage, "least");
    const double most = NumberAt(stage, "most");
    Row row;
    row.title = absl::StrCat(name, ": ", Number(centre, 4), ", sites from ",
                             Number(least, 4), " to ", Number(most, 4));
    row.ranges = {{least, most, "fed"}};
    row.marks = {{MarkShape::kDiamond, centre, "fed"}};
    absl::StrAppend(
        &rows, "<tr><th scope=row>", Escape(name), "</th><td class=plot>",
        RowPlot(scale, row, kNoNumber), "</td><td class=num>",
        Number(centre, 4), "</td><td class=num>", Number(least, 4),
        "</td><td class=num>", Number(most, 4), "</td><td class=num>",
        WholeAt(stage, "sites"), "</td></tr>");
  }
  const std::string head = absl::StrCat(
      "<tr><th scope=col>Stage</th><th scope=col class=plot>",
      RowAxis(scale, "Drift"),
      "</th><th scope=col class=num>All sites</th><th scope=col "
      "class=num>Least</th><th scope=col class=num>Most</th><th scope=col "
      "class=num>Sites</th></tr>");
  return Panel(kDrift, Table("Drift by stage, from the input on", head, rows));
}

}  // namespace fedgraft
