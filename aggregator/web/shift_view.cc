#include "aggregator/web/shift_view.h"

#include <algorithm>
#include <map>

namespace fedgraft {

ShiftView::ShiftView(const Json& shift) : shift_(shift) {
  const double rate = NumberAt(shift, "false_discovery_rate");
  if (rate > 0 && rate < 1) rate_ = rate;
  for (const Json& site : ListAt(shift, "sites")) {
    sites_.push_back(site.is_string() ? site.get<std::string>() : "");
  }
  for (const Json& round : ListAt(shift, "rounds")) {
    rounds_.push_back(AsNumber(round));
  }
  for (const Json& test : ListAt(shift, "tests")) {
    Test one;
    one.index = tests_.size();
    one.name = TextAt(test, "name");
    one.title = TextAt(test, "title");
    one.kind = TextAt(test, "kind");
    one.shows = TextAt(test, "shows");
    one.means = TextAt(test, "means");
    one.decisive = TrueAt(test, "decisive");
    one.charted = TrueAt(test, "charted");
    tests_.push_back(std::move(one));
  }
}

std::string ShiftView::TitleOf(absl::string_view test) const {
  for (const Test& one : tests_) {
    if (one.name == test && !one.title.empty()) return one.title;
  }
  return std::string(test);
}

double ShiftView::P(size_t round, size_t site, size_t test) const {
  const double adjusted =
      AsNumber(At(At(At(At(shift_, "adjusted"), round), site), test));
  if (std::isfinite(adjusted)) return adjusted;
  return AsNumber(At(At(At(At(shift_, "p"), round), site), test));
}

double ShiftView::Effect(size_t round, size_t site, size_t test) const {
  return AsNumber(At(At(At(At(shift_, "effect"), round), site), test));
}

std::vector<const Json*> NewestBySite(const Json& list) {
  std::map<std::string, const Json*> newest;
  std::vector<std::string> order;
  for (const Json& item : list) {
    const std::string site = TextAt(item, "site");
    const auto [it, is_new] = newest.emplace(site, &item);
    if (is_new) {
      order.push_back(site);
    } else if (NumberAt(item, "round") >= NumberAt(*it->second, "round")) {
      it->second = &item;
    }
  }
  std::vector<const Json*> result;
  for (const std::string& site : order) result.push_back(newest[site]);
  return result;
}

std::vector<const Json*> OfNewestRound(const Json& list) {
  double round = -1;
  for (const Json& item : list) {
    const double one = NumberAt(item, "round");
    if (one > round) round = one;
  }
  std::vector<const Json*> result;
  for (const Json& item : list) {
    if (NumberAt(item, "round") == round) result.push_back(&item);
  }
  return result;
}

}  // namespace fedgraft
