#include "aggregator/cli/view.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/cli/scanner_view.h"
#include "aggregator/cli/text_table.h"
#include "aggregator/cli/transfer_view.h"
#include "aggregator/web/human.h"
#include "aggregator/web/report_json.h"
#include "common/base/bytes.h"

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

}  // namespace

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
    for (const std::string& said : {status.masks(), status.end_reason()}) {
      std::string line = "  " + said;
      if (width > 0 && line.size() > static_cast<size_t>(width)) {
        line.resize(static_cast<size_t>(width));
      }
      if (!said.empty()) absl::StrAppend(&text, line, "\n");
    }
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
  if (!status.shift_table().empty()) {
    absl::StrAppend(&text, "\nShift: what differs between the sites\n",
                    status.shift_table());
  }
  absl::StrAppend(&text, RenderScanners(status));
  absl::StrAppend(&text, "\nMedian round ", HumanSeconds(MedianSeconds(status)),
                  ", received ", HumanBytes(BytesReceived(status)), ", sent ",
                  HumanBytes(BytesSent(status)), "; model ",
                  ToHex(AsBytes(status.model())), "\n");
  return text;
}

}  // namespace fedgraft
