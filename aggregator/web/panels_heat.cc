#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/html.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/shift_view.h"

namespace fedgraft {
namespace {

constexpr PanelText kText = {
    "heat", "Tests by site, over rounds",
    "For each site and test, the adjusted p-value in the newest round: how "
    "easily chance alone would make such a difference. The strip below it is "
    "its history, the oldest round at the left; the stronger the colour, the "
    "less likely chance.",
    "Pale almost everywhere. Specks are chance: of the differences that a "
    "round names, about one in twenty is false.",
    "A strip that turns red and stays red: something changed then; see Change "
    "over time. Red from the start: the site has always differed; see What "
    "differs."};

// Shades, beside none: weak, counts, strong.
constexpr int kLevels = 3;
constexpr double kWeak = 0.2, kStrong = 0.001;
// Sites without any difference are folded away from this many on.
constexpr size_t kUnfolded = 12;

int Level(double p, double rate) {
  if (!(p <= kWeak)) return 0;
  return p <= kStrong ? 3 : p <= rate ? 2 : 1;
}

// The history of one site and test: one path for each shade, a rectangle for
// each run of rounds.
std::string Strip(const ShiftView& view, size_t site, size_t test) {
  std::array<std::string, kLevels + 1> paths;
  const size_t count = view.rounds().size();
  for (size_t begin = 0; begin < count;) {
    const int level = Level(view.P(begin, site, test), view.rate());
    size_t end = begin + 1;
    while (end < count &&
           Level(view.P(end, site, test), view.rate()) == level) {
      ++end;
    }
    if (level > 0) {
      const size_t size = end - begin;
      absl::StrAppend(&paths[level], "M", begin, " 0h", size, "v1h-", size,
                      "z");
    }
    begin = end;
  }
  std::string svg = absl::StrCat(
      "<svg class=strip aria-hidden=true viewBox=\"0 0 ",
      std::max<size_t>(count, 1), " 1\" preserveAspectRatio=none>");
  for (int level = 1; level <= kLevels; ++level) {
    if (paths[level].empty()) continue;
    absl::StrAppend(&svg, "<path class=h", level, " d=\"", paths[level],
                    "\"/>");
  }
  return svg + "</svg>";
}

// The newest round in which the site was tested; the number of rounds if none.
size_t NewestRound(const ShiftView& view, size_t site, size_t test) {
  for (size_t round = view.rounds().size(); round-- > 0;) {
    if (std::isfinite(view.P(round, site, test))) return round;
  }
  return view.rounds().size();
}

std::string Cell(const ShiftView& view, size_t site,
                 const ShiftView::Test& test) {
  const size_t round = NewestRound(view, site, test.index);
  if (round == view.rounds().size()) {
    return absl::StrCat("<td class=heat>", Number(kNoNumber, 2), "</td>");
  }
  const double p = view.P(round, site, test.index);
  const double effect = view.Effect(round, site, test.index);
  std::string title;
  if (std::isfinite(effect)) {
    title = absl::StrCat(" title=\"size of the difference ",
                         ShortNumber(effect), "\"");
  }
  return absl::StrCat("<td class=heat><span class=\"p h", Level(p, view.rate()),
                      "\"", title, ">", PValue(p), "</span>",
                      Strip(view, site, test.index), "</td>");
}

std::string Rows(const ShiftView& view, const std::vector<size_t>& sites,
                 const std::vector<const ShiftView::Test*>& tests) {
  std::string rows;
  for (const size_t site : sites) {
    absl::StrAppend(&rows, "<tr><th scope=row>", Escape(view.sites()[site]),
                    "</th>");
    for (const ShiftView::Test* test : tests) {
      rows += Cell(view, site, *test);
    }
    rows += "</tr>";
  }
  return rows;
}

std::string HeatTable(const ShiftView& view, const std::string& caption,
                      const std::vector<size_t>& sites,
                      const std::vector<const ShiftView::Test*>& tests) {
  std::string head = "<tr><th scope=col>Site</th>";
  for (const ShiftView::Test* test : tests) {
    absl::StrAppend(&head, "<th scope=col class=heat>", Escape(test->title),
                    "<small>", Escape(test->kind), "</small></th>");
  }
  return Table(caption, head + "</tr>", Rows(view, sites, tests));
}

// Whether any decisive test of the site counts in the newest round, or has for
// a tenth of the rounds.
bool IsOfInterest(const ShiftView& view, size_t site) {
  for (const ShiftView::Test& test : view.tests()) {
    if (!test.decisive) continue;
    size_t count = 0;
    for (size_t round = 0; round < view.rounds().size(); ++round) {
      const bool counts = view.P(round, site, test.index) <= view.rate();
      count += counts ? 1 : 0;
      if (counts && round + 1 == view.rounds().size()) return true;
    }
    if (10 * count > view.rounds().size()) return true;
  }
  return false;
}

std::string Legend(const ShiftView& view) {
  return absl::StrFormat(
      "<p class=legend><span class=\"p h0\">0.50</span> nothing to see <span "
      "class=\"p h1\">0.12</span> p up to %g <span class=\"p h2\">0.03</span> "
      "p up to %g: counts as a difference <span class=\"p h3\">&lt; "
      "0.001</span> hardly chance</p>",
      kWeak, view.rate());
}

// What each test compares.
std::string Explained(const ShiftView& view) {
  std::string list;
  for (const ShiftView::Test& test : view.tests()) {
    absl::StrAppend(&list, "<dt>", Escape(test.title), " <small>",
                    Escape(test.kind), "</small></dt><dd>", Escape(test.shows),
                    " <i>", Escape(test.means), "</i>",
                    test.decisive ? ""
                                  : " It reacts to more than one kind of "
                                    "difference, so it decides nothing.",
                    "</dd>");
  }
  return absl::StrCat(
      "<details><summary>What each test compares</summary><dl class=tests>",
      list, "</dl></details>");
}

}  // namespace

std::string HeatMapPanel(const Json& report) {
  const ShiftView view(At(report, "shift"));
  if (view.sites().empty() || view.rounds().empty() || view.tests().empty()) {
    return EmptyPanel(
        kText, "No test has been released.",
        "The plan turns it on: <code>shift: {every: 1}</code>, at sites "
        "with <code>policy: {share_site_scalars: true}</code>. Each "
        "site tests itself against the sum over the others, so that at "
        "least four sites are needed with secure aggregation.");
  }
  std::vector<const ShiftView::Test*> decisive, others;
  for (const ShiftView::Test& test : view.tests()) {
    (test.decisive ? decisive : others).push_back(&test);
  }
  std::vector<size_t> shown, folded, all;
  for (size_t site = 0; site < view.sites().size(); ++site) {
    all.push_back(site);
    (view.sites().size() < kUnfolded || IsOfInterest(view, site) ? shown
                                                                 : folded)
        .push_back(site);
  }
  const std::string caption =
      absl::StrFormat("Adjusted p by site and test, rounds %.0f to %.0f",
                      view.rounds().front(), view.rounds().back());
  std::string body = Legend(view);
  if (!shown.empty()) body += HeatTable(view, caption, shown, decisive);
  if (!folded.empty()) {
    absl::StrAppend(&body, "<details><summary>", Count(folded.size(), "site"),
                    " without lasting differences</summary>",
                    HeatTable(view, caption, folded, decisive), "</details>");
  }
  if (!others.empty()) {
    absl::StrAppend(
        &body,
        "<details><summary>Further tests, which decide nothing</summary>",
        HeatTable(view, "p by site and further test", all, others),
        "</details>");
  }
  return Panel(kText, body + Explained(view));
}

}  // namespace fedgraft
