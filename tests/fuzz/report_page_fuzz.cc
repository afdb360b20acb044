// RenderRunPage and MetricsText: a report, whatever it holds.

#include "aggregator/web/metrics_text.h"
#include "aggregator/web/page.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto page = RenderRunPage(text, {});
  if (page.ok()) {
    ++fuzz::accepted;
    FG_CHECK(page->find("<script") == std::string::npos);
    const Json report = Json::parse(text);
    FG_CHECK(SummarizeRun(report).run == TextAt(report, "run"));
    MetricsText(report, /*now_unix_ms=*/0);
  } else {
    fuzz::CheckRefusal(page.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
