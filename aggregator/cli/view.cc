#include "aggregator/cli/view.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/cli/text_table.h"
#include "aggregator/cli/transfer_view.h"
#include "common/base/bytes.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

template <typename Map>
std::string Interval(const Map& values, const std::string& name) {
  const std::string low = NumberIn(values, name + "_low", 3);
  const std::string high = NumberIn(values, name + "_high", 3);
  if (low == "-" || high == "-") return "-";
  return absl::StrCat(low, "..", high);
}

std::string Bar(float fraction, int width) {
  const int full = static_cast<int>(std::lround(
      std::clamp(fraction, 0.0f, 1.0f) * static_cast<float>(width)));
  return absl::StrCat("[", std::string(full, '#'),
                      std::string(width - full, '.'), "]");
}

uint64_t BytesReceived(const pb::StatusReply& status) {
  uint64_t bytes = 0;
  for (const auto& site : status.sites()) bytes += site.bytes_received();
  return bytes;
}

uint64_t BytesSent(const pb::StatusReply& status) {
  uint64_t bytes = 0;
  for (const auto& site : status.sites()) bytes += site.bytes_sent();
  return bytes;
}

const pb::RoundSummary* LastEvaluated(const pb::StatusReply& status) {
  for (int i = status.history_size() - 1; i >= 0; --i) {
    // Solve rounds have metrics of another kind.
    if (status.history(i).metrics().contains("loss")) return &status.history(i);
  }
  return nullptr;
}

double MedianSeconds(const pb::StatusReply& status) {
  std::vector<double> seconds;
  for (const auto& round : status.history()) {
    seconds.push_back(round.seconds());
  }
  if (seconds.empty()) return 0;
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2,
                   seconds.end());
  return seconds[seconds.size() / 2];
}

template <typename Map>
nlohmann::json ToJson(const Map& values) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : values) json[name] = value;
  return json;
}

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", unit == 0 ? 0 : 1, value, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (seconds < 10) return absl::StrFormat("%.2gs", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return absl::StrCat(whole, "s");
  if (whole < 3600) {
    return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  }
  return absl::StrFormat("%dh%02dm", whole / 3600, whole / 60 % 60);
}

std::string RenderStatus(const pb::StatusReply& status, int width) {
  std::string text = absl::StrCat(status.federation(), ": ");
  if (status.run_id().empty()) {
    absl::StrAppend(&text, "no run yet, ", status.sites_size(),
                    " site(s) known\n");
  } else {
    absl::StrAppend(&text, status.plan_name(), " [", status.run_id(), "] ",
                    status.state(), ", round ", status.round(), "/",
                    status.rounds());
    if (status.eta_seconds() > 0) {
      absl::StrAppend(&text, ", ETA ", HumanSeconds(status.eta_seconds()));
    }
    absl::StrAppend(&text, ", up ", HumanBytes(BytesReceived(status)),
                    ", down ", HumanBytes(BytesSent(status)));
    if (const pb::RoundSummary* round = LastEvaluated(status)) {
      absl::StrAppend(&text, ", pooled AUC ",
                      NumberIn(round->metrics(), "auc", 3), " loss ",
                      NumberIn(round->metrics(), "loss", 4));
    }
    text.push_back('\n');
  }
  size_t name_width = 4;
  for (const auto& site : status.sites()) {
    name_width = std::max(name_width, site.site().size());
  }
  for (const auto& site : status.sites()) {
    std::string line = absl::StrFormat(
        "  %-*s  %-12s %s  up %9s  %s", name_width, site.site(), site.state(),
        Bar(site.progress(), 20), HumanBytes(site.bytes_received()),
        site.connected() ? "" : "not connected");
    if (!site.last_refusal().empty()) {
      absl::StrAppend(&line, "  refused: ", site.last_refusal());
    }
    if (width > 0 && line.size() > static_cast<size_t>(width)) {
      line.resize(width);
    }
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string RenderReport(const pb::StatusReply& status) {
  std::string text = absl::StrCat(
      "Run ", status.run_id(), " of plan \"", status.plan_name(), "\" (",
      ToHex(AsBytes(status.plan_hash())).substr(0, 12), "): ", status.state(),
      ", ", status.history_size(), " of ", status.rounds(), " rounds\n\n");
  std::vector<TableRow> rows = {{"site", "n", "local-only AUC", "federated AUC",
                                 "95% CI", "accuracy", "rounds"}};
  for (const auto& site : status.sites()) {
    const auto& scalars = site.scalars();
    rows.push_back({site.site(), NumberIn(scalars, "n", 0),
                    NumberIn(scalars, "local_auc", 3),
                    NumberIn(scalars, "auc", 3), Interval(scalars, "auc"),
                    NumberIn(scalars, "accuracy", 3),
                    absl::StrCat(site.rounds_contributed())});
  }
  if (const pb::RoundSummary* round = LastEvaluated(status)) {
    const auto& metrics = round->metrics();
    rows.push_back({"pooled", NumberIn(metrics, "n", 0), "",
                    NumberIn(metrics, "auc", 3), Interval(metrics, "auc"),
                    NumberIn(metrics, "accuracy", 3), ""});
  }
  absl::StrAppend(&text, TextTable(rows), RenderTransfer(status));
  absl::StrAppend(&text, "\nMedian round ", HumanSeconds(MedianSeconds(status)),
                  ", received ", HumanBytes(BytesReceived(status)), ", sent ",
                  HumanBytes(BytesSent(status)), "; model ",
                  ToHex(AsBytes(status.model())), "\n");
  return text;
}

std::string ReportJson(const pb::StatusReply& status) {
  nlohmann::json json;
  json["run"] = status.run_id();
  json["plan"] = status.plan_name();
  json["plan_hash"] = ToHex(AsBytes(status.plan_hash()));
  json["state"] = status.state();
  json["rounds"] = status.rounds();
  json["model_sha256"] = ToHex(AsBytes(status.model()));
  json["aggregator_peak_rss_bytes"] = status.peak_rss_bytes();
  json["pooled"] = nlohmann::json::object();
  if (const pb::RoundSummary* round = LastEvaluated(status)) {
    json["pooled"] = ToJson(round->metrics());
  }
  json["transfer"] = TransferJson(status);
  json["sites"] = nlohmann::json::array();
  for (const auto& site : status.sites()) {
    json["sites"].push_back({{"site", site.site()},
                             {"state", site.state()},
                             {"rounds", site.rounds_contributed()},
                             {"bytes_received", site.bytes_received()},
                             {"bytes_sent", site.bytes_sent()},
                             {"scalars", ToJson(site.scalars())}});
  }
  json["history"] = nlohmann::json::array();
  for (const auto& round : status.history()) {
    json["history"].push_back(
        {{"round", round.round()},
         {"sites",
          std::vector<std::string>(round.sites().begin(), round.sites().end())},
         {"seconds", round.seconds()},
         {"bytes_up", round.bytes_up()},
         {"bytes_down", round.bytes_down()},
         {"saturated", round.saturated()},
         {"metrics", ToJson(round.metrics())},
         {"influence", ToJson(round.influence())}});
  }
  return json.dump(2);
}

}  // namespace fedgraft
