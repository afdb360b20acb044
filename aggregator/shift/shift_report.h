#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/shift/remedies.h"
#include "common/shift/shift_tests.h"

// What a run's sites differ in, from the scalars that they released: a pure
// function of the journalled history. No single site's sketch is needed, nor
// known here.

namespace fedgraft {

// round -> site -> name -> value.
using ShiftHistory =
    std::map<uint32_t, std::map<std::string, std::map<std::string, double>>>;

struct ShiftReportOptions {
  // Expected share of false ones among the differences that a round names.
  double false_discovery_rate = 0.05;
  // Probability that a run of `rounds` rounds raises any alarm if nothing
  // changes at any site.
  double false_alarm_rate = 0.05;
  // Planned; 0: those of the history.
  uint32_t rounds = 0;
  std::vector<std::string> class_names;  // empty: their indices
  // Charts (site, test) start anew after these rounds: the change is known.
  std::map<std::pair<std::string, std::string>, uint32_t> acknowledged;
};

// One test of one site in one round.
struct ShiftCell {
  double statistic = 0, dof = 0, p = 1, effect = 0;
  double adjusted = 1;   // p over the round's sites and decisive tests
  bool differs = false;  // decisive, and adjusted at most the rate
};

struct ShiftPrior {
  std::string class_name;
  double prior = 0, low = 0, high = 0;
  double reference = 0;  // share at the other sites
};

enum class ShiftRemedy {
  kNone,
  kNormalization,    // local normalisation (FedBN), or importance weights
  kPriorCorrection,  // at prediction, or a site intercept
  kPersonalHead,     // Ditto or a local head, once the labels were looked at
  kReview,           // all at once: people first
};
std::string_view ShiftRemedyName(ShiftRemedy remedy);

struct SiteTriage {
  uint32_t round = 0;
  std::string site;
  std::vector<ShiftKind> kinds;  // empty: none
  std::string verdict;           // "covariate and label shift"
  std::string reason;            // which tests, how large, in words
  ShiftRemedy remedy = ShiftRemedy::kNone;
  std::string advice;
  // Plans that apply remedies: what the site does from the next round on, and
  // why it does not do what would be its remedy.
  SiteRemedy applied = SiteRemedy::kNone;
  RemedyObstacle obstacle = RemedyObstacle::kNone;
};

enum class ChartState { kLearning, kQuiet, kAlarm };

struct ShiftChart {
  std::string site, test;
  double threshold = 0, low_threshold = 0;
  double deviation = 1;  // of the values, by which they are divided
  ChartState state = ChartState::kLearning;
  struct Point {
    uint32_t round = 0;
    double value = 0, high = 0, low = 0;
  };
  std::vector<Point> points;     // rounds with new records only
  std::vector<uint32_t> alarms;  // rounds
};

struct ShiftAlarm {
  uint32_t round = 0;
  std::string site, test;
  bool upwards = true;
  std::string words;
};

struct SiteTransfer {
  uint32_t round = 0;
  std::string site;
  double delta = 0, low = 0, high = 0, p = 1;
  double adjusted = 1;  // p over the round's sites
  TransferVerdict verdict = TransferVerdict::kNoDifference;
  std::string words;
};

struct ShiftReport {
  double false_discovery_rate = 0, false_alarm_rate = 0;
  uint32_t rounds_planned = 0;
  std::vector<std::string> sites;
  std::vector<uint32_t> rounds;  // those with shift scalars
  std::vector<std::string> class_names;
  // round, site, test.
  std::map<uint32_t, std::map<std::string, std::map<std::string, ShiftCell>>>
      cells;
  std::map<uint32_t, std::map<std::string, std::vector<ShiftPrior>>> priors;
  std::vector<SiteTriage> triage;      // by round, then site
  std::vector<ShiftChart> charts;      // by site, then test
  std::vector<ShiftAlarm> alarms;      // by round
  std::vector<SiteTransfer> transfer;  // by round, then site
  std::vector<std::string> notes;      // what could not be said, and why
};

// One round's cells by site and test, adjusted over its sites, of what sites
// told (site -> name -> value). `where`: how notes of what is left out begin.
// INVALID_ARGUMENT: a rate that is none.
absl::StatusOr<std::map<std::string, std::map<std::string, ShiftCell>>>
ShiftCells(const std::map<std::string, std::map<std::string, double>>& sites,
           double false_discovery_rate, const std::string& where,
           std::vector<std::string>& notes);

// A value that is no number, or a p-value outside [0, 1], counts as not
// released, and a note says so: one site cannot spoil the report.
// INVALID_ARGUMENT: options outside their range.
absl::StatusOr<ShiftReport> MakeShiftReport(const ShiftHistory& history,
                                            const ShiftReportOptions& options);

}  // namespace fedgraft
