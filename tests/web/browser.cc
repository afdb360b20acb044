#include "tests/web/browser.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "httplib.h"

namespace fedgraft::testing {
namespace {

constexpr const char* kChromium = "/usr/bin/chromium";
constexpr const char* kDriver = "/usr/bin/chromedriver";

[[noreturn]] void Give(const std::string& what) {
  std::fprintf(stderr, "browser: %s\n", what.c_str());
  std::abort();
}

// The port that the driver tells in its log; 0: not yet.
int PortIn(const std::string& log) {
  constexpr absl::string_view kBefore = "started successfully on port ";
  const size_t at = log.find(kBefore.data(), 0, kBefore.size());
  if (at == std::string::npos) return 0;
  const size_t begin = at + kBefore.size();
  const size_t end = log.find('.', begin);
  int port = 0;
  if (end == std::string::npos ||
      !absl::SimpleAtoi(log.substr(begin, end - begin), &port)) {
    return 0;
  }
  return port;
}

}  // namespace

std::unique_ptr<Browser> Browser::Start() {
  if (access(kChromium, X_OK) != 0 || access(kDriver, X_OK) != 0) {
    return nullptr;
  }
  auto browser = std::unique_ptr<Browser>(new Browser);
  const std::string log = browser->folder_.File("driver.log");
  browser->driver_ = Process::Start({kDriver, "--port=0"}, log);
  if (!WaitUntil(
          [&] { return (browser->port_ = PortIn(ReadFileOrEmpty(log))) > 0; },
          absl::Seconds(60))) {
    Give(absl::StrCat("chromedriver does not start: ", ReadFileOrEmpty(log)));
  }
  const nlohmann::json options = {
      {"binary", kChromium},
      {"args",
       {"--headless=new", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking",
        absl::StrCat("--user-data-dir=", browser->folder_.File("profile"))}}};
  const nlohmann::json session =
      browser->Call("", {{"capabilities",
                          {{"alwaysMatch",
                            {{"browserName", "chrome"},
                             {"goog:loggingPrefs", {{"browser", "ALL"}}},
                             {"goog:chromeOptions", options}}}}}});
  browser->session_ = "/" + session.at("sessionId").get<std::string>();
  return browser;
}

Browser::~Browser() {
  if (session_.empty()) return;
  httplib::Client client("127.0.0.1", port_);
  client.Delete("/session" + session_);
}

nlohmann::json Browser::Call(const std::string& path,
                             const nlohmann::json& body) {
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(120);
  const auto answer = client.Post("/session" + session_ + path, body.dump(),
                                  "application/json");
  if (!answer) Give("chromedriver does not answer " + path);
  const auto json = nlohmann::json::parse(answer->body, nullptr, false);
  if (answer->status != 200 || !json.is_object()) {
    Give(absl::StrCat(path, ": ", answer->body));
  }
  return json.at("value");
}

nlohmann::json Browser::DevTools(const std::string& command,
                                 const nlohmann::json& parameters) {
  return Call("/goog/cdp/execute", {{"cmd", command}, {"params", parameters}});
}

void Browser::Open(const std::string& url) { Call("/url", {{"url", url}}); }

void Browser::Resize(int width, int height) {
  DevTools("Emulation.setDeviceMetricsOverride", {{"width", width},
                                                  {"height", height},
                                                  {"deviceScaleFactor", 1},
                                                  {"mobile", false}});
}

void Browser::SetDark(bool dark) {
  DevTools("Emulation.setEmulatedMedia",
           {{"features",
             {{{"name", "prefers-color-scheme"},
               {"value", dark ? "dark" : "light"}}}}});
}

nlohmann::json Browser::Evaluate(const std::string& script) {
  return Call("/execute/sync",
              {{"script", script}, {"args", nlohmann::json::array()}});
}

std::string Browser::Screenshot() {
  const nlohmann::json size =
      Evaluate("return [innerWidth, document.documentElement.scrollHeight]");
  const nlohmann::json picture =
      DevTools("Page.captureScreenshot", {{"format", "png"},
                                          {"captureBeyondViewport", true},
                                          {"clip",
                                           {{"x", 0},
                                            {"y", 0},
                                            {"width", size[0]},
                                            {"height", size[1]},
                                            {"scale", 1}}}});
  std::string png;
  if (!absl::Base64Unescape(picture.at("data").get<std::string>(), &png)) {
    Give("the screenshot is not Base64");
  }
  return png;
}

std::vector<std::string> Browser::Complaints() {
  std::vector<std::string> complaints;
  for (const auto& entry : Call("/se/log", {{"type", "browser"}})) {
    if (entry.at("level") == "INFO" || entry.at("level") == "DEBUG") continue;
    complaints.push_back(entry.at("message").get<std::string>());
  }
  return complaints;
}

}  // namespace fedgraft::testing
