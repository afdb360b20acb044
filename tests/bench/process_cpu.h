#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/integration/process.h"

namespace fedgraft::bench {

// CPU time of a process so far.
inline double CpuMs(pid_t pid) {
  const std::string stat =
      testing::ReadFileOrEmpty(absl::StrCat("/proc/", pid, "/stat"));
  // Fields after the command's closing parenthesis; utime and stime are the
  // twelfth and thirteenth of them.
  const std::vector<std::string> fields = absl::StrSplit(
      stat.substr(std::min(stat.size(), stat.rfind(')') + 2)), ' ');
  if (fields.size() < 13) return 0;
  const double ticks =
      std::atof(fields[11].c_str()) + std::atof(fields[12].c_str());
  return 1000 * ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace fedgraft::bench
