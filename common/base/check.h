#pragma once

#include <string_view>

namespace fedgraft::internal {
[[noreturn]] void CheckFailed(const char* file, int line,
                              std::string_view condition);
}  // namespace fedgraft::internal

// Aborts with file, line and condition if a broken invariant (our own bug,
// never outside input) is found. Active in every build.
#define FG_CHECK(condition)                                              \
  (static_cast<bool>(condition)                                          \
       ? void(0)                                                         \
       : ::fedgraft::internal::CheckFailed(__FILE__, __LINE__, #condition))
