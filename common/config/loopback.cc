#include "common/config/loopback.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace fedgraft {

bool IsLoopbackHost(absl::string_view host) {
  if (absl::EqualsIgnoreCase(host, "localhost") || host == "[::1]") return true;
  const std::vector<std::string> parts = absl::StrSplit(host, '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  for (const std::string& part : parts) {
    int number = -1;
    if (part.empty() || part.size() > 3 || !absl::SimpleAtoi(part, &number) ||
        number < 0 || number > 255) {
      return false;
    }
  }
  return true;
}

}  // namespace fedgraft
