#include "aggregator/web/metrics_text.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/shift_view.h"

namespace fedgraft {
namespace {

using Labels = std::vector<std::pair<absl::string_view, std::string>>;

// https://prometheus.io/docs/instrumenting/exposition_formats: in a label's
// value, backslash, quote and line feed are escaped.
std::string LabelValue(absl::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped.push_back('\\');
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

// One metric: its samples stand together, below its help and type.
class Metric {
 public:
  Metric(absl::string_view name, absl::string_view type, absl::string_view help)
      : name_(name),
        head_(absl::StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " ",
                           type, "\n")) {}

  void Add(const Labels& labels, double value) {
    if (!std::isfinite(value)) return;
    absl::StrAppend(&samples_, name_);
    const char* separator = "{";
    for (const auto& [label, text] : labels) {
      absl::StrAppend(&samples_, separator, label, "=\"", LabelValue(text),
                      "\"");
      separator = ",";
    }
    absl::StrAppendFormat(&samples_, "%s %.17g\n", labels.empty() ? "" : "}",
                          value);
  }
  // Nothing without samples.
  void AppendTo(std::string& text) const {
    if (!samples_.empty()) absl::StrAppend(&text, head_, samples_);
  }

 private:
  absl::string_view name_;
  std::string head_, samples_;
};

void AppendRun(const Json& report, std::string& text) {
  Metric info("fedgraft_run_info", "gauge",
              "The run; its state is a label, the value is 1.");
  info.Add({{"run", TextAt(report, "run")},
            {"plan", TextAt(report, "plan")},
            {"state", TextAt(report, "state")}},
           1);
  info.AppendTo(text);
  const auto gauge = [&](absl::string_view name, absl::string_view help,
                         double value) {
    Metric metric(name, "gauge", help);
    metric.Add({}, value);
    metric.AppendTo(text);
  };
  gauge("fedgraft_round", "Round under way, or the last one.",
        NumberAt(report, "round"));
  gauge("fedgraft_rounds_planned", "Rounds of the run.",
        NumberAt(report, "rounds"));
  gauge("fedgraft_quorum", "Sites without which no round closes.",
        NumberAt(report, "quorum"));
  const std::string state = TextAt(report, "state");
  gauge("fedgraft_storage_error",
        "1: the aggregator cannot write and accepts nothing.",
        state == "storage error" ? 1 : 0);
  const Json& history = ListAt(report, "history");
  if (!history.empty()) {
    gauge("fedgraft_round_duration_seconds", "Of the newest complete round.",
          NumberAt(history.back(), "seconds"));
    gauge("fedgraft_round_saturated_values",
          "Values cut to the plan's range in the newest complete round.",
          NumberAt(history.back(), "saturated"));
  }
  const Json& pooled = At(report, "pooled");
  gauge("fedgraft_pooled_auc", "AUC over all sites' evaluation images.",
        NumberAt(pooled, "auc"));
  gauge("fedgraft_pooled_loss", "Loss over all sites' evaluation images.",
        NumberAt(pooled, "loss"));
  gauge("fedgraft_resident_memory_peak_bytes",
        "Largest resident memory of the aggregator so far.",
        NumberAt(report, "aggregator_peak_rss_bytes"));
}

void AppendSites(const Json& report, int64_t now_unix_ms, std::string& text) {
  Metric connected("fedgraft_site_connected", "gauge",
                   "1: heard of within the last 70 seconds.");
  Metric seen("fedgraft_site_last_seen_seconds", "gauge",
              "Since the site was last heard of.");
  Metric updates("fedgraft_site_updates_total", "counter",
                 "Updates of the run that were accepted.");
  Metric refusals("fedgraft_site_refusals_total", "counter",
                  "Updates and messages refused since the aggregator started.");
  Metric received("fedgraft_site_received_bytes_total", "counter",
                  "Bytes of updates received from the site.");
  Metric sent("fedgraft_site_sent_bytes_total", "counter",
              "Bytes of models sent to the site.");
  Metric auc("fedgraft_site_auc", "gauge",
             "AUC of the shared model on the site's own images.");
  Metric spent("fedgraft_site_privacy_epsilon", "gauge",
               "Epsilon that the site has spent, over all its runs.");
  Metric allowed("fedgraft_site_privacy_epsilon_max", "gauge",
                 "Epsilon that the site allows; absent: no limit.");
  for (const Json& site : ListAt(report, "sites")) {
    const Labels labels = {{"site", TextAt(site, "site")}};
    const Json& scalars = At(site, "scalars");
    connected.Add(labels, TrueAt(site, "connected") ? 1 : 0);
    const double ms = NumberAt(site, "last_seen_unix_ms");
    if (ms > 0) {
      seen.Add(labels,
               std::max(0.0, (static_cast<double>(now_unix_ms) - ms) / 1000));
    }
    updates.Add(labels, NumberAt(site, "rounds"));
    refusals.Add(labels, NumberAt(site, "refusals"));
    received.Add(labels, NumberAt(site, "bytes_received"));
    sent.Add(labels, NumberAt(site, "bytes_sent"));
    auc.Add(labels, NumberAt(scalars, "auc"));
    spent.Add(labels, NumberAt(scalars, "privacy_epsilon"));
    const double most = NumberAt(scalars, "privacy_epsilon_max");
    if (most > 0) allowed.Add(labels, most);
  }
  for (const Metric* metric : {&connected, &seen, &updates, &refusals,
                               &received, &sent, &auc, &spent, &allowed}) {
    metric->AppendTo(text);
  }
}

void AppendShift(const Json& shift, std::string& text) {
  Metric alarm("fedgraft_shift_alarm", "gauge",
               "1: the site's data have changed during the run.");
  Metric level("fedgraft_shift_chart_ratio", "gauge",
               "Evidence for a change, as a share of the alarm limit.");
  for (const Json& chart : ListAt(shift, "charts")) {
    const Labels labels = {{"site", TextAt(chart, "site")},
                           {"test", TextAt(chart, "test")}};
    alarm.Add(labels, TextAt(chart, "state") == "alarm" ? 1 : 0);
    const Json& high = ListAt(chart, "high");
    const Json& low = ListAt(chart, "low");
    if (high.empty()) continue;
    const double top = std::fmax(AsNumber(At(high, high.size() - 1)),
                                 AsNumber(At(low, high.size() - 1)));
    level.Add(labels, top / NumberAt(chart, "threshold"));
  }
  Metric differs("fedgraft_shift_site_differs", "gauge",
                 "1: the site's data differ from the others' in this way.");
  for (const Json* triage : NewestBySite(ListAt(shift, "triage"))) {
    for (const absl::string_view kind : {"covariate", "label", "concept"}) {
      bool named = false;
      for (const Json& one : ListAt(*triage, "kinds")) {
        named = named || (one.is_string() && one.get<std::string>() == kind);
      }
      differs.Add(
          {{"site", TextAt(*triage, "site")}, {"kind", std::string(kind)}},
          named ? 1 : 0);
    }
  }
  Metric harm("fedgraft_transfer_harms", "gauge",
              "1: a model of its own would serve the site better.");
  for (const Json* transfer : NewestBySite(ListAt(shift, "transfer"))) {
    harm.Add({{"site", TextAt(*transfer, "site")}},
             TextAt(*transfer, "verdict") == "harms" ? 1 : 0);
  }
  for (const Metric* metric : {&alarm, &level, &differs, &harm}) {
    metric->AppendTo(text);
  }
}

}  // namespace

std::string MetricsText(const Json& report, int64_t now_unix_ms) {
  std::string text;
  if (!TextAt(report, "run").empty()) AppendRun(report, text);
  AppendSites(report, now_unix_ms, text);
  AppendShift(At(report, "shift"), text);
  return text;
}

}  // namespace fedgraft
