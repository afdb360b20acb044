#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fedgraft {

// A folder or file of the shared data; empty if this machine has none.
inline std::string TestData(const std::string& relative) {
  const char* data = std::getenv("FEDGRAFT_DATA");
  const char* source = std::getenv("FEDGRAFT_SOURCE_DIR");
  std::string root = data != nullptr ? data : "";
  if (root.empty() && source != nullptr) {
    root = std::string(source) + "/../shared/data";
  }
  const std::string path = root + "/" + relative;
  return !root.empty() && std::filesystem::exists(path) ? path : "";
}

}  // namespace fedgraft
