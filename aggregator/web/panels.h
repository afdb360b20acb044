#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "aggregator/web/json_read.h"

// The panels of a run's page. Each is a pure function of the report
// (aggregator/web/report_json.h) and gives HTML; where the report holds nothing
// for it, the panel says so and how to turn it on.

namespace fedgraft {

// State, progress and the numbers that people ask for first.
std::string SummaryPanel(const Json& report, absl::Time now);
// What somebody should look at, with a link to the panel that tells more.
std::string AttentionPanel(const Json& report);
std::string SitesPanel(const Json& report, absl::Time now);
std::string RoundsPanel(const Json& report);

std::string ForestPanel(const Json& report);
std::string ConvergencePanel(const Json& report);
std::string DriftPanel(const Json& report);

std::string TriagePanel(const Json& report);
std::string HeatMapPanel(const Json& report);
std::string ChartsPanel(const Json& report);
std::string PriorsPanel(const Json& report);
std::string AlarmsPanel(const Json& report);
// Nothing if the plan does not have scanners counted.
std::string ScannersPanel(const Json& report);

std::string TransferPanel(const Json& report);
std::string PrivacyPanel(const Json& report);

// Whether the run is over.
bool HasEnded(const Json& report);
// "<span class="pill warn">…</span>".
std::string Pill(absl::string_view role, absl::string_view text);
// The role of a run's state: good, warn, bad or calm.
absl::string_view StateRole(absl::string_view state);

}  // namespace fedgraft
