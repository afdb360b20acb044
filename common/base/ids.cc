#include "common/base/ids.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {

absl::StatusOr<SiteId> SiteId::Parse(std::string_view text) {
  bool ok = !text.empty() && text.size() <= 63 && text[0] != '-' &&
            text[0] != '_';
  for (char c : text) {
    ok = ok && (absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' ||
                c == '_');
  }
  if (!ok) {
    return absl::InvalidArgumentError(absl::StrCat(
        "site id \"", absl::CHexEscape(absl::string_view(text.data(),
                                                         text.size())),
        "\" is not 1 to 63 of a-z, 0-9, '-', '_', starting with a letter or "
        "digit"));
  }
  return SiteId{std::string(text)};
}

}  // namespace fedgraft
