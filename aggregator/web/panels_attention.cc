#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "aggregator/web/html.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/shift_view.h"

namespace fedgraft {
namespace {

// Sites named in one line; the rest is counted.
constexpr size_t kNamesMax = 5;
// Share of a site's privacy budget from which it is told.
constexpr double kBudgetShare = 0.8;

// What is bad stands before what is only to be watched.
class Items {
 public:
  // `text` is HTML.
  void Add(absl::string_view role, absl::string_view word,
           absl::string_view text, absl::string_view panel) {
    absl::StrAppend(role == "bad" ? &bad_ : &other_, "<li>", Pill(role, word),
                    " <span>", text, " <a href=\"#", panel,
                    "\">details</a></span></li>");
  }
  std::string html() const { return bad_ + other_; }

 private:
  std::string bad_, other_;
};

std::string Names(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() == kNamesMax) break;
    shown.push_back(absl::StrCat("<b>", Escape(name), "</b>"));
  }
  std::string text = absl::StrJoin(shown, ", ");
  if (names.size() > kNamesMax) {
    absl::StrAppend(&text, " and ", names.size() - kNamesMax, " more");
  }
  return text;
}

void AddSites(const Json& report, Items& items) {
  std::vector<std::string> away, refused;
  for (const Json& site : ListAt(report, "sites")) {
    const std::string name = TextAt(site, "site");
    if (!HasEnded(report) && !TrueAt(site, "connected")) away.push_back(name);
    if (!TextAt(site, "last_refusal").empty()) refused.push_back(name);
  }
  if (!away.empty()) {
    items.Add("warn", "Not connected", Names(away), "sites");
  }
  if (!refused.empty()) {
    items.Add("warn", "Refused",
              absl::StrCat("something that ", Names(refused), " sent"),
              "sites");
  }
}

void AddShift(const Json& shift, Items& items) {
  std::set<std::string> alarmed;
  for (const Json& chart : ListAt(shift, "charts")) {
    if (TextAt(chart, "state") == "alarm") {
      alarmed.insert(TextAt(chart, "site"));
    }
  }
  if (!alarmed.empty()) {
    items.Add("bad", "Alarm",
              absl::StrCat("data have changed during the run at ",
                           Names({alarmed.begin(), alarmed.end()})),
              "alarms");
  }
  std::vector<std::string> differ;
  for (const Json* triage : NewestBySite(ListAt(shift, "triage"))) {
    if (!ListAt(*triage, "kinds").empty()) {
      differ.push_back(TextAt(*triage, "site"));
    }
  }
  if (!differ.empty()) {
    items.Add("warn", "Differs",
              absl::StrCat("from the other sites: ", Names(differ)), "triage");
  }
  std::vector<std::string> harmed;
  for (const Json* transfer : NewestBySite(ListAt(shift, "transfer"))) {
    if (TextAt(*transfer, "verdict") == "harms") {
      harmed.push_back(TextAt(*transfer, "site"));
    }
  }
  if (!harmed.empty()) {
    items.Add("bad", "Harmed",
              absl::StrCat("a model of its own would serve ", Names(harmed),
                           " better"),
              "transfer");
  }
}

void AddPrivacy(const Json& report, Items& items) {
  std::vector<std::string> nearly;
  for (const Json& site : ListAt(report, "sites")) {
    const Json& scalars = At(site, "scalars");
    const double spent = NumberAt(scalars, "privacy_epsilon");
    const double most = NumberAt(scalars, "privacy_epsilon_max");
    if (most > 0 && spent >= kBudgetShare * most) {
      nearly.push_back(TextAt(site, "site"));
    }
  }
  if (nearly.empty()) return;
  items.Add("warn", "Budget",
            absl::StrCat("of privacy nearly spent at ", Names(nearly)),
            "privacy");
}

}  // namespace

std::string AttentionPanel(const Json& report) {
  Items items;
  const std::string state = TextAt(report, "state");
  if (state == "storage error") {
    items.Add("bad", "Storage",
              "the aggregator's disk is full or damaged; it accepts nothing "
              "until that is mended and it is started again",
              "sites");
  }
  AddSites(report, items);
  AddShift(At(report, "shift"), items);
  AddPrivacy(report, items);
  return absl::StrCat(
      "<section class=\"panel attention\" id=attention "
      "aria-labelledby=h-attention><h2 id=h-attention>Needs attention</h2>",
      items.html().empty()
          ? absl::StrCat("<p>", Pill("good", "All well"),
                         " Nothing that this page knows of needs "
                         "anybody.</p>")
          : absl::StrCat("<ul>", items.html(), "</ul>"),
      "</section>\n");
}

}  // namespace fedgraft
