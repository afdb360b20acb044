#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/shift/watch_checks.h"
#include "client/train/watch.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

using Json = nlohmann::json;

void AppendChecks(const WatchReport& report, double level, std::string& text) {
  absl::StrAppendFormat(&text, "%-11s  %-35s  %8s  %7s  %s\n", "check",
                        "compares", "p", "effect",
                        absl::StrFormat("normal: p above %g", level));
  for (const WatchResult& result : report.results) {
    absl::StrAppendFormat(
        &text, "%-11s  %-35s  %8.2g  %7.3f  %s\n", std::string(result.name),
        std::string(WatchCheckOf(result.name).compares), result.adjusted_p,
        result.result.effect, result.differs ? "DIFFERS" : "as before");
  }
}

std::string Words(const MeasureInterval& measure) {
  return absl::StrFormat("%.3f (%.3f to %.3f)", measure.value, measure.low,
                         measure.high);
}

void AppendMeasure(const char* name,
                   const std::optional<MeasureInterval>& expected,
                   const std::optional<MeasureInterval>& validation,
                   std::string& text) {
  if (!expected.has_value() || !validation.has_value()) return;
  absl::StrAppendFormat(&text, "  %-18s %-24s  on validation images %s\n", name,
                        Words(*expected), Words(*validation));
}

void AppendPerformance(const WatchReport& report, std::string& text) {
  if (!report.expected.has_value()) return;
  absl::StrAppend(&text,
                  "\nExpected of the model on the new images, by its own "
                  "probabilities (95 %):\n");
  AppendMeasure("AUC", report.expected->auc, report.validation->auc, text);
  AppendMeasure("balanced accuracy", report.expected->balanced_accuracy,
                report.validation->balanced_accuracy, text);
  if (report.undoes_label_shift) {
    absl::StrAppend(&text,
                    "  for the shares below, which differ from those of the "
                    "validation images\n");
  }
  const WatchResult* features = report.Find("features");
  if (features != nullptr && features->differs) {
    absl::StrAppend(&text,
                    "  Do not rely on it: the images look different, and what "
                    "the probabilities say\n  of such images is not known.\n");
  }
}

void AppendShares(const WatchReport& report,
                  const std::vector<std::string>& classes, std::string& text) {
  if (!report.prior.has_value()) return;
  absl::StrAppend(&text, "\nEstimated shares, if nothing but them differs:\n");
  for (size_t c = 0; c < report.prior->prior.size(); ++c) {
    absl::StrAppendFormat(
        &text, "  %-18s %.3f (%.3f to %.3f)  among validation images %.3f\n",
        classes[c], report.prior->prior[c], report.prior->low[c],
        report.prior->high[c], report.source_prior[c]);
  }
}

void AppendCharts(const WatchOutcome& outcome, std::string& text) {
  absl::StrAppend(&text, "\nCharts, batches so far: ", outcome.batches);
  if (outcome.is_known_batch) {
    absl::StrAppend(&text, " (this one was among them, and counts once)");
  }
  absl::StrAppend(&text, ":\n");
  for (const WatchChart& chart : outcome.charts) {
    if (chart.batches == 0) continue;
    absl::StrAppendFormat(&text, "  %-11s %5.2f  normal: up to %.2f%s\n",
                          std::string(chart.name), chart.value, chart.threshold,
                          chart.alarmed ? "  ALARM" : "");
  }
}

void AppendVerdict(const WatchOutcome& outcome, std::string& text) {
  if (!outcome.IsAlarm()) {
    absl::StrAppend(&text, "\nQuiet: nothing to do.\n");
    return;
  }
  absl::StrAppend(&text, "\nALARM. What to do:\n");
  for (const WatchResult& result : outcome.report.results) {
    if (!result.differs) continue;
    absl::StrAppend(&text, "- ", std::string(result.name), ": ",
                    std::string(WatchCheckOf(result.name).action), "\n");
  }
  if (outcome.report.performance_falls) {
    absl::StrAppend(&text,
                    "- performance: below what validation images showed; have "
                    "a sample labelled before relying on the model.\n");
  }
  for (const WatchChart& chart : outcome.charts) {
    if (!chart.alarmed) continue;
    absl::StrAppend(
        &text, "- chart of ", std::string(chart.name),
        ": the batches have changed for good; find out since when, then begin "
        "anew with --acknowledge.\n");
  }
}

Json IntervalJson(const MeasureInterval& measure) {
  return {
      {"value", measure.value}, {"low", measure.low}, {"high", measure.high}};
}

Json PerformanceJson(const std::optional<ModelPerformance>& performance) {
  if (!performance.has_value()) return nullptr;
  Json json = {
      {"balanced_accuracy", IntervalJson(performance->balanced_accuracy)}};
  if (performance->auc.has_value()) {
    json["auc"] = IntervalJson(*performance->auc);
  }
  return json;
}

Json SharesJson(const WatchReport& report,
                const std::vector<std::string>& classes) {
  Json shares = Json::array();
  if (!report.prior.has_value()) return shares;
  for (size_t c = 0; c < report.prior->prior.size(); ++c) {
    shares.push_back({{"class", classes[c]},
                      {"share", report.prior->prior[c]},
                      {"low", report.prior->low[c]},
                      {"high", report.prior->high[c]},
                      {"validation", report.source_prior[c]}});
  }
  return shares;
}

}  // namespace

std::string WatchText(const WatchOutcome& outcome,
                      const std::vector<std::string>& classes, double level) {
  std::string text = absl::StrCat(
      outcome.arrived, " new images, beside ", outcome.reference,
      outcome.reference_is_validation ? " validation" : " training",
      " images of this site",
      outcome.reference_is_validation
          ? " (the model's features were fitted to the training images)"
          : absl::StrCat(" and ", outcome.validation, " for validation"),
      "; model ", outcome.model.Short(), "\n\n");
  AppendChecks(outcome.report, level, text);
  AppendPerformance(outcome.report, text);
  AppendShares(outcome.report, classes, text);
  AppendCharts(outcome, text);
  for (const std::string& note : outcome.report.notes) {
    absl::StrAppend(&text, "\n", note, "\n");
  }
  AppendVerdict(outcome, text);
  return text;
}

std::string WatchJson(const WatchOutcome& outcome,
                      const std::vector<std::string>& classes, double level) {
  Json checks = Json::array();
  for (const WatchResult& result : outcome.report.results) {
    checks.push_back({{"check", std::string(result.name)},
                      {"p", result.result.p},
                      {"p_adjusted", result.adjusted_p},
                      {"effect", result.result.effect},
                      {"differs", result.differs}});
  }
  Json charts = Json::array();
  for (const WatchChart& chart : outcome.charts) {
    charts.push_back({{"chart", std::string(chart.name)},
                      {"batches", chart.batches},
                      {"value", chart.value},
                      {"threshold", chart.threshold},
                      {"alarm", chart.alarmed}});
  }
  const Json json = {{"alarm", outcome.IsAlarm()},
                     {"model", outcome.model.Hex()},
                     {"new_images", outcome.arrived},
                     {"reference_images", outcome.reference},
                     {"validation_images", outcome.validation},
                     {"level", level},
                     {"checks", checks},
                     {"expected", PerformanceJson(outcome.report.expected)},
                     {"validation", PerformanceJson(outcome.report.validation)},
                     {"undoes_label_shift", outcome.report.undoes_label_shift},
                     {"performance_falls", outcome.report.performance_falls},
                     {"shares", SharesJson(outcome.report, classes)},
                     {"batches", outcome.batches},
                     {"known_batch", outcome.is_known_batch},
                     {"charts", charts},
                     {"notes", outcome.report.notes},
                     {"history", outcome.history_path}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace fedgraft
