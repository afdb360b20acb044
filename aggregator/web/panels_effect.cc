#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "aggregator/web/html.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/row_plot.h"
#include "aggregator/web/shift_view.h"

namespace fedgraft {
namespace {

constexpr PanelText kTransfer = {
    "transfer", "Help or harm",
    "Whether taking part serves each site: AUC of the shared model less that "
    "of a model trained on the site's own images alone, on the same held-out "
    "images, with its 95 % interval. Right of 0, the shared model is better.",
    "Helps, or no difference. Small sites gain most.",
    "Harms: the site should use its own model, or keep a head or a model of "
    "its own (personalisation in the plan). Look at What differs for the "
    "reason."};

constexpr PanelText kPrivacy = {
    "privacy", "Privacy budget",
    "With differential privacy, how much of what its hospital allows each site "
    "has spent, over all its runs: epsilon, at the delta in the table. Sites "
    "keep the ledger themselves and refuse what would exceed it.",
    "Bars grow evenly and end below the allowed.",
    "Nearly full: plan fewer rounds or more noise before the site refuses its "
    "next task (fedgraft-aggregator plan epsilon tells what a plan costs). A "
    "budget never grows back."};

absl::string_view VerdictRole(absl::string_view verdict) {
  if (verdict == "helps") return "good";
  return verdict == "harms" ? "bad" : "calm";
}

constexpr size_t kBeforeMax = 8;  // rounds

// The site's verdicts before, by round; empty if this is the first.
std::string Before(const Json& report, const Json& newest) {
  std::vector<std::string> parts;
  for (const Json& one : ListAt(At(report, "shift"), "transfer")) {
    if (&one == &newest || TextAt(one, "site") != TextAt(newest, "site")) {
      continue;
    }
    parts.push_back(absl::StrFormat("%.0f: %s", NumberAt(one, "round"),
                                    TextAt(one, "verdict")));
  }
  if (parts.empty()) return "";
  if (parts.size() > kBeforeMax) {
    parts.erase(parts.begin(), parts.end() - kBeforeMax);
  }
  return absl::StrCat("<div><small>Rounds before: ",
                      Escape(absl::StrJoin(parts, ", ")), "</small></div>");
}

std::string TransferRow(const Json& report, const Json& transfer,
                        const RowScale& scale) {
  const std::string site = TextAt(transfer, "site");
  const std::string verdict = TextAt(transfer, "verdict");
  const double delta = NumberAt(transfer, "delta");
  const double low = NumberAt(transfer, "low");
  const double high = NumberAt(transfer, "high");
  const absl::string_view role = VerdictRole(verdict);
  const absl::string_view mark = role == "calm" ? "fed" : role;
  const double adjusted = NumberAt(transfer, "adjusted");
  Row row;
  row.title = absl::StrCat(site, ": ", verdict, ", ", Number(delta, 3),
                           " from ", Number(low, 3), " to ", Number(high, 3));
  row.ranges = {{low, high, mark}};
  row.marks = {{MarkShape::kDot, delta, mark}};
  return absl::StrCat(
      "<tr><th scope=row>", Escape(site), "</th><td>", Pill(role, verdict),
      "</td><td class=plot>", RowPlot(scale, row, 0), "</td><td class=num>",
      WithInterval(delta, low, high, 3), "</td><td class=num>",
      PValue(std::isfinite(adjusted) ? adjusted : NumberAt(transfer, "p")),
      "</td><td class=wrap>", Escape(TextAt(transfer, "words")),
      Before(report, transfer), "</td></tr>");
}

}  // namespace

std::string TransferPanel(const Json& report) {
  std::vector<const Json*> newest =
      NewestBySite(ListAt(At(report, "shift"), "transfer"));
  if (newest.empty()) {
    return EmptyPanel(
        kTransfer, "No site has compared the shared model with its own.",
        "The plan asks for it: <code>evaluation: {compare_local: "
        "true}</code> with <code>shift: {every: 5}</code>; sites must "
        "allow the result out: <code>policy: {share_site_scalars: "
        "true}</code>.");
  }
  // Those who lose first.
  std::stable_sort(newest.begin(), newest.end(),
                   [](const Json* a, const Json* b) {
                     return NumberAt(*a, "delta") < NumberAt(*b, "delta");
                   });
  std::vector<double> values = {0};
  for (const Json* transfer : newest) {
    for (const char* name : {"delta", "low", "high"}) {
      values.push_back(NumberAt(*transfer, name));
    }
  }
  const RowScale scale(values, -1, 1);
  std::string rows;
  for (const Json* transfer : newest) {
    rows += TransferRow(report, *transfer, scale);
  }
  const std::string caption =
      newest.size() < 2
          ? "Gain from taking part"
          : absl::StrCat("Gain from taking part, least first: ",
                         TextAt(*newest.back(), "site"), " gains most, ",
                         TextAt(*newest.front(), "site"), " least");
  const std::string head = absl::StrCat(
      "<tr><th scope=col>Site</th><th scope=col>Taking part</th><th scope=col "
      "class=plot>",
      RowAxis(scale, "Gain in AUC"),
      "</th><th scope=col class=num>Gain</th><th scope=col class=num>p</th><th "
      "scope=col>In words</th></tr>");
  return Panel(kTransfer, Table(caption, head, rows));
}

std::string PrivacyPanel(const Json& report) {
  std::string rows;
  for (const Json& site : ListAt(report, "sites")) {
    const Json& scalars = At(site, "scalars");
    const double spent = NumberAt(scalars, "privacy_epsilon");
    if (!std::isfinite(spent)) continue;
    const double most = NumberAt(scalars, "privacy_epsilon_max");
    const bool limited = most > 0;
    const double share = limited ? spent / most : 0;
    const absl::string_view role = share >= 1     ? "bad"
                                   : share >= 0.8 ? "warn"
                                                  : "fed";
    const std::string name = TextAt(site, "site");
    absl::StrAppend(
        &rows, "<tr><th scope=row>", Escape(name), "</th><td class=num>",
        Number(spent, 2), "</td><td class=num>",
        limited ? Number(most, 2) : "no limit", "</td><td class=num>",
        ShortNumber(NumberAt(scalars, "privacy_delta")), "</td><td class=plot>",
        limited ? ShareBar(share, role,
                           absl::StrFormat("%s has spent %.0f %% of its budget",
                                           name, 100 * share))
                : "",
        "</td><td class=num>",
        limited ? absl::StrFormat("%.0f %%", 100 * share) : "", "</td></tr>");
  }
  if (rows.empty()) {
    return EmptyPanel(
        kPrivacy, "No site has told what it has spent.",
        "The plan turns differential privacy on: <code>privacy: "
        "{differential_privacy: {kind: record, …}}</code>; what it "
        "costs: <code>fedgraft-aggregator plan epsilon</code>. A site "
        "tells its ledger with <code>policy: {share_site_scalars: "
        "true}</code> and sets its budget with <code>epsilon_max</code>."
        " Without differential privacy, nothing is counted.");
  }
  return Panel(kPrivacy,
               Table("Budget of differential privacy by site",
                     "<tr><th scope=col>Site</th><th scope=col "
                     "class=num>Spent</th><th scope=col "
                     "class=num>Allowed</th><th scope=col "
                     "class=num>Delta</th><th scope=col class=plot>Share "
                     "spent</th><th scope=col class=num></th></tr>",
                     rows));
}

}  // namespace fedgraft
