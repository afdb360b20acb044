#include "aggregator/web/report_json.h"

#include <utility>
#include <vector>

#include "aggregator/web/scanner_summary.h"
#include "aggregator/web/transfer_summary.h"
#include "common/base/bytes.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

template <typename Map>
nlohmann::json ToJson(const Map& values) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : values) json[name] = value;
  return json;
}

nlohmann::json SiteJson(const pb::SiteStatus& site) {
  return {{"site", site.site()},
          {"connected", site.connected()},
          {"state", site.state()},
          {"progress", site.progress()},
          {"rounds", site.rounds_contributed()},
          {"bytes_received", site.bytes_received()},
          {"bytes_sent", site.bytes_sent()},
          {"last_seen_unix_ms", site.last_seen_unix_ms()},
          {"refusals", site.refusals()},
          {"last_refusal", site.last_refusal()},
          {"scalars", ToJson(site.scalars())}};
}

nlohmann::json RoundJson(const pb::RoundSummary& round) {
  return {{"round", round.round()},
          {"sites", std::vector<std::string>(round.sites().begin(),
                                             round.sites().end())},
          {"seconds", round.seconds()},
          {"bytes_up", round.bytes_up()},
          {"bytes_down", round.bytes_down()},
          {"saturated", round.saturated()},
          {"metrics", ToJson(round.metrics())},
          {"influence", ToJson(round.influence())}};
}

}  // namespace

const pb::RoundSummary* LastEvaluated(const pb::StatusReply& status) {
  for (int i = status.history_size() - 1; i >= 0; --i) {
    // Solve rounds have metrics of another kind.
    if (status.history(i).metrics().contains("loss")) return &status.history(i);
  }
  return nullptr;
}

std::string ReportJson(const pb::StatusReply& status) {
  nlohmann::json json;
  json["federation"] = status.federation();
  json["run"] = status.run_id();
  json["plan"] = status.plan_name();
  json["plan_hash"] = ToHex(AsBytes(status.plan_hash()));
  json["state"] = status.state();
  json["round"] = status.round();
  json["rounds"] = status.rounds();
  json["quorum"] = status.quorum();
  json["started_unix_ms"] = status.started_unix_ms();
  json["eta_seconds"] = status.eta_seconds();
  json["model_sha256"] = ToHex(AsBytes(status.model()));
  json["aggregator_peak_rss_bytes"] = status.peak_rss_bytes();
  json["pooled"] = nlohmann::json::object();
  if (const pb::RoundSummary* round = LastEvaluated(status)) {
    json["pooled"] = ToJson(round->metrics());
  }
  json["transfer"] = TransferJson(status);
  json["sites"] = nlohmann::json::array();
  for (const auto& site : status.sites()) {
    json["sites"].push_back(SiteJson(site));
  }
  json["history"] = nlohmann::json::array();
  for (const auto& round : status.history()) {
    json["history"].push_back(RoundJson(round));
  }
  nlohmann::json shift = nlohmann::json::parse(
      status.shift_report(), /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (shift.is_object()) json["shift"] = std::move(shift);
  nlohmann::json scanners = ScannersJson(status);
  if (scanners.is_object()) json["scanners"] = std::move(scanners);
  // A refusal may quote what a site sent: not always UTF-8.
  return json.dump(2, ' ', /*ensure_ascii=*/false,
                   nlohmann::json::error_handler_t::replace);
}

}  // namespace fedgraft
