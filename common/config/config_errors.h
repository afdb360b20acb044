#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace fedgraft {

// Collects everything that is wrong with one file, so that its author sees all
// of it at once. Not thread-safe.
class ConfigErrors {
 public:
  // `source`: the file, or what else was read.
  explicit ConfigErrors(std::string source) : source_(std::move(source)) {}

  // Where a key stands; later errors about it are then found by their key.
  void SetLine(const std::string& key_path, int line) {
    lines_.emplace(key_path, line);
  }
  // `key_path`: such as "local.optimizer.kind" or "task.classes[2]"; empty for
  // the whole file. The line is that of the key or of what encloses it.
  void Add(std::string_view key_path, std::string_view problem);
  void AddAt(int line, std::string_view key_path, std::string_view problem);

  bool empty() const { return problems_.empty(); }
  // OK if there are none. Otherwise INVALID_ARGUMENT with one line each, in
  // the file's order, the first 20 of them.
  absl::Status ToStatus() const;

 private:
  int LineOf(std::string_view key_path) const;

  std::string source_;
  std::map<std::string, int, std::less<>> lines_;
  std::vector<std::pair<int, std::string>> problems_;
};

}  // namespace fedgraft
