#include "aggregator/web/status_page.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "aggregator/web/metrics_text.h"
#include "aggregator/web/page.h"
#include "aggregator/web/report_json.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr const char* kPlain = "text/plain; charset=utf-8";
constexpr int kRefreshMin = 5, kRefreshMax = 3600;

Json Parse(const std::string& text) {
  return Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
}

WebReply NotFound(const std::string& what) {
  return {404, "", RenderMessagePage("Not found", what)};
}

WebReply Unavailable(const absl::Status& status) {
  return {503, "",
          RenderMessagePage("Not available", std::string(status.message()))};
}

absl::Duration RefreshOf(const std::string& text) {
  int seconds = 0;
  if (!absl::SimpleAtoi(text, &seconds) || seconds < kRefreshMin ||
      seconds > kRefreshMax) {
    return absl::ZeroDuration();
  }
  return absl::Seconds(seconds);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const StatusPage::Report>> StatusPage::Newest() {
  absl::MutexLock lock(&mutex_);
  if (newest_ != nullptr && clock_.Monotonic() - taken_ < kAgeMax) {
    return newest_;
  }
  FG_ASSIGN_OR_RETURN(const pb::StatusReply status, source_());
  newest_ = std::make_shared<const Report>(
      Report{status.run_id(), ReportJson(status)});
  taken_ = clock_.Monotonic();
  return newest_;
}

WebReply StatusPage::Answer(const WebRequest& request) {
  if (request.path == "/") return Index();
  if (request.path == "/metrics") return Metrics();
  if (request.path == "/healthz") return Health();
  absl::string_view run = request.path;
  if (absl::ConsumePrefix(&run, "/runs/")) {
    return Run(std::string(run), request.refresh);
  }
  return NotFound("There is no such page here.");
}

WebReply StatusPage::Index() {
  const auto newest = Newest();
  if (!newest.ok()) return Unavailable(newest.status());
  std::vector<RunLine> runs;
  const std::string& current = (*newest)->run;
  if (!current.empty()) runs.push_back(SummarizeRun(Parse((*newest)->json)));
  for (const RunArchive::Entry& entry : archive_.All()) {
    if (entry.line.run != current) runs.push_back(entry.line);
  }
  PageOptions options;
  options.now = clock_.Wall();
  options.is_served = true;
  return {200, "", RenderIndexPage(federation_, runs, options)};
}

WebReply StatusPage::Run(const std::string& run, const std::string& refresh) {
  const auto newest = Newest();
  if (!newest.ok()) return Unavailable(newest.status());
  PageOptions options;
  options.is_served = true;
  options.now = clock_.Wall();
  std::string json;
  if (!run.empty() && run == (*newest)->run) {
    json = (*newest)->json;
    options.refresh = RefreshOf(refresh);
  } else {
    const absl::StatusOr<std::string> kept = archive_.Read(run);
    if (!kept.ok()) return NotFound("This aggregator keeps no such run.");
    json = *kept;
    for (const RunArchive::Entry& entry : archive_.All()) {
      if (entry.line.run == run) options.now = entry.kept;
    }
  }
  const absl::StatusOr<std::string> page = RenderRunPage(json, options);
  if (!page.ok()) return Unavailable(page.status());
  return {200, "", *page};
}

WebReply StatusPage::Metrics() {
  const auto newest = Newest();
  if (!newest.ok()) {
    return {503, kPlain, std::string(newest.status().message()) + "\n"};
  }
  return {
      200, std::string(kMetricsContentType),
      MetricsText(Parse((*newest)->json), absl::ToUnixMillis(clock_.Wall()))};
}

WebReply StatusPage::Health() {
  const auto newest = Newest();
  if (!newest.ok()) {
    return {503, kPlain, std::string(newest.status().message()) + "\n"};
  }
  return {200, kPlain, "ok\n"};
}

}  // namespace fedgraft
