#pragma once

#include <string>

#include "aggregator/shift/shift_report.h"

// The report as JSON, for people's scripts and for the page that draws it.
// Every number has five significant digits; null: not released, or not
// defined. A member that is not in this list may come at any time; one that is
// changes only with "version".
//
// {
//  "version": 1,
//  "false_discovery_rate": 0.05, "false_alarm_rate": 0.05,
//  "rounds_planned": 50,
//  "sites": ["a", "b"],            // the order of [site] below
//  "rounds": [1, 2, 3],            // the order of [round] below
//  "classes": ["normal", "pneumonia"],
//  "tests": [                      // the order of [test] below
//   {"name": "covariate_mmd", "kind": "covariate" | "label" | "concept",
//    "decisive": true, "charted": true, "title": "features",
//    "shows": "Compares …", "means": "The images …"}],
//  // Heat map of site × test over rounds; each [round][site][test]:
//  "p": [[[0.41, null]]], "adjusted": …, "effect": …, "statistic": …,
//  "dof": …,
//  "differs": [[[false, null]]],   // decisive, and adjusted <= the rate: the
//                                 // site differs; how, "triage" says
//  "triage": [                     // by round, then site
//   {"round": 3, "site": "a", "kinds": ["covariate", "label"],
//    "verdict": "covariate and label shift", "reason": "…",
//    "remedy": "none" | "normalization" | "prior_correction" |
//              "personal_head" | "review",
//    "advice": "…",
//                                 // plans with on_shift apply: from the next
//                                 // round on; or why it is not done
//    "applied": "" | "importance weights" | "prior correction" |
//               "personal model", "obstacle": "" | "the plan …"}],
//  "priors": [                     // by round, then site, then class
//   {"round": 3, "site": "a", "class": "pneumonia", "prior": 0.31,
//    "low": 0.24, "high": 0.38, "reference": 0.5}],
//  "charts": [                     // by site, then test
//   {"site": "a", "test": "covariate_mmd", "threshold": 7.1,
//    "low_threshold": 9.0,
//    "deviation": 1, "state": "learning" | "quiet" | "alarm",
//    "rounds": [1, 2], "value": [0.3, -1], "high": [0, 0.2], "low": [0, 0],
//    "alarms": [27]}],             // high above threshold, or low
//                                 // above low_threshold
//  "alarms": [                     // by round
//   {"round": 27, "site": "a", "test": "covariate_mmd",
//    "direction": "up" | "down", "words": "…"}],
//  "transfer": [                   // forest plot: by round, then site
//   {"round": 10, "site": "a", "delta": 0.03, "low": 0.01, "high": 0.05,
//    "p": 0.002, "adjusted": 0.004,
//    "verdict": "helps" | "no difference" | "harms", "words": "…"}],
//  "notes": ["…"]                  // what could not be said, and why
// }

namespace fedgraft {

// One line, in the order above, the same bytes for the same report.
std::string ShiftReportJson(const ShiftReport& report);
// For a terminal: the newest round's verdicts, charts and transfer.
std::string ShiftReportTable(const ShiftReport& report);

}  // namespace fedgraft
