#pragma once

#include "absl/strings/string_view.h"

namespace fedgraft {

// The one style sheet, for inside <style>. Light or dark as the reader's system
// says; text stands out from its background by at least 4.5 to 1 in both.
extern const absl::string_view kStyle;

}  // namespace fedgraft
