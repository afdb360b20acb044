#include "common/config/config_errors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace fedgraft {
namespace {

constexpr size_t kShownMax = 20;
// More than this is not collected either.
constexpr size_t kKeptMax = 1000;

}  // namespace

void ConfigErrors::Add(std::string_view key_path, std::string_view problem) {
  AddAt(LineOf(key_path), key_path, problem);
}

void ConfigErrors::AddAt(int line, std::string_view key_path,
                         std::string_view problem) {
  if (problems_.size() >= kKeptMax) return;
  std::string text = source_;
  if (line > 0) absl::StrAppend(&text, ":", line);
  text += ": ";
  if (!key_path.empty()) text.append(key_path).append(": ");
  problems_.emplace_back(line, text.append(problem));
}

int ConfigErrors::LineOf(std::string_view key_path) const {
  while (!key_path.empty()) {
    if (const auto found = lines_.find(key_path); found != lines_.end()) {
      return found->second;
    }
    const size_t end = key_path.find_last_of(".[");
    key_path = key_path.substr(0, end == std::string_view::npos ? 0 : end);
  }
  return 0;
}

absl::Status ConfigErrors::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  auto sorted = problems_;
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (size_t i = 0; i < std::min(sorted.size(), kShownMax); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : "\n", sorted[i].second);
  }
  if (sorted.size() > kShownMax) {
    absl::StrAppend(&text, "\nand ", sorted.size() - kShownMax, " more");
  }
  return absl::InvalidArgumentError(text);
}

}  // namespace fedgraft
