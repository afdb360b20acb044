#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "aggregator/web/json_read.h"

namespace fedgraft {

// Look-ups in the report's "shift" (its schema: aggregator/shift/shift_json.h).
// Holds on to the document: it must outlive the view.
class ShiftView {
 public:
  explicit ShiftView(const Json& shift);

  struct Test {
    size_t index = 0;  // in the cubes
    std::string name, title, kind, shows, means;
    bool decisive = false, charted = false;
  };
  const std::vector<std::string>& sites() const { return sites_; }
  const std::vector<double>& rounds() const { return rounds_; }
  const std::vector<Test>& tests() const { return tests_; }
  // The test's title, or its name if it is not known.
  std::string TitleOf(absl::string_view test) const;
  // Level at or below which a difference counts.
  double rate() const { return rate_; }

  // Adjusted where it was adjusted, else as it is; kNoNumber: none.
  double P(size_t round, size_t site, size_t test) const;
  double Effect(size_t round, size_t site, size_t test) const;

 private:
  const Json& shift_;
  double rate_ = 0.05;
  std::vector<std::string> sites_;
  std::vector<double> rounds_;
  std::vector<Test> tests_;
};

// Of a list whose items name "round" and "site": each site's newest, in the
// order of the list.
std::vector<const Json*> NewestBySite(const Json& list);
// Those of the newest round in the list.
std::vector<const Json*> OfNewestRound(const Json& list);

}  // namespace fedgraft
