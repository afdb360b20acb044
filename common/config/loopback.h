#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace fedgraft {

// Whether only this machine can reach it, as its text says: localhost,
// 127.*.*.* or [::1]. No name is looked up.
bool IsLoopbackHost(absl::string_view host);

}  // namespace fedgraft
