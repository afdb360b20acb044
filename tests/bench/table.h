#pragma once

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

// What every bench prints: rows of one table, which run.sh gathers. A ratio is
// of two numbers of one run on one machine, so it means something elsewhere.

namespace fedgraft::bench {

// "measured" and "yardstick" with their units; "target" as in "<= 2" or "".
inline void PrintRow(const std::string& what, const std::string& measured,
                     const std::string& yardstick, double ratio,
                     const std::string& target) {
  std::printf("| %s | %s | %s | %.2f | %s |\n", what.c_str(), measured.c_str(),
              yardstick.c_str(), ratio, target.c_str());
  std::fflush(stdout);
}

template <typename... Args>
std::string Format(const char* format, Args... args) {
  char text[192];
  std::snprintf(text, sizeof(text), format, args...);
  return text;
}

inline double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}
// CPU time of this thread: what a core does, whatever else the machine does.
inline double ThreadSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
inline double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }

// The least CPU time of this thread over `times` calls.
template <typename Work>
double BestSeconds(int times, Work work) {
  double best = 1e30;
  for (int i = 0; i < times; ++i) {
    const double begin = ThreadSeconds();
    work();
    best = std::min(best, ThreadSeconds() - begin);
  }
  return best;
}

// Peak resident memory since the last ResetPeakRss, in MB.
inline void ResetPeakRss() { std::ofstream("/proc/self/clear_refs") << "5"; }
inline double PeakRssMb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, 6, "VmHWM:") == 0)
      return std::stod(line.substr(6)) / 1e3;
  }
  return 0;
}

}  // namespace fedgraft::bench
