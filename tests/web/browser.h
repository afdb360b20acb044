#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/integration/process.h"
#include "tests/support/temp_folder.h"

namespace fedgraft::testing {

// Headless Chromium, driven through chromedriver (WebDriver over HTTP). What
// must not fail aborts the test with a message. Used from one thread.
class Browser {
 public:
  // Null if this machine has no chromium or no chromedriver.
  static std::unique_ptr<Browser> Start();
  ~Browser();

  // Returns once the page is loaded.
  void Open(const std::string& url);
  // Of the window, in CSS pixels.
  void Resize(int width, int height);
  // What prefers-color-scheme says.
  void SetDark(bool dark);
  // The value of a function's body, such as "return document.title".
  nlohmann::json Evaluate(const std::string& script);
  // The whole page as PNG, however long.
  std::string Screenshot();
  // Since the last call: what the console shows as warning or error.
  std::vector<std::string> Complaints();

 private:
  Browser() = default;
  nlohmann::json Call(const std::string& path, const nlohmann::json& body);
  nlohmann::json DevTools(const std::string& command,
                          const nlohmann::json& parameters);

  TempFolder folder_;
  std::unique_ptr<Process> driver_;
  int port_ = 0;
  std::string session_;
};

}  // namespace fedgraft::testing
