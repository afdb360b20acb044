#include "common/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace fedgraft::internal {

void CheckFailed(const char* file, int line, std::string_view condition) {
  std::fprintf(stderr, "%s:%d: FG_CHECK failed: %.*s\n", file, line,
               static_cast<int>(condition.size()), condition.data());
  std::abort();
}

}  // namespace fedgraft::internal
