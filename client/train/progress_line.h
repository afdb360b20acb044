#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "client/train/self_supervised.h"
#include "common/runtime/clock.h"

namespace fedgraft {

// Shows how far a long training is: on a terminal one line with a bar, drawn
// over itself at most five times a second; elsewhere plain lines, one for each
// epoch and, within long ones, one each half minute. Rates and times count from
// the first step that this process makes. Not thread-safe.
class ProgressLine {
 public:
  // `width` in columns; 0: not a terminal. `write` gets what to print. `clock`
  // outlives this.
  ProgressLine(const Clock& clock, int width,
               std::function<void(std::string_view)> write);
  // Ends a line that is being drawn.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Show(const SslProgress& progress);

 private:
  std::string Text(const SslProgress& progress, absl::Duration passed) const;
  std::string Bar(const SslProgress& progress, size_t text_size) const;

  const Clock& clock_;
  const int width_;
  const std::function<void(std::string_view)> write_;
  const absl::Time start_;
  absl::Time shown_ = absl::InfinitePast();
  int64_t first_step_ = 0;  // the last one of earlier processes
  bool line_open_ = false;
};

// Columns of the terminal that standard output is; 0: it is none.
int TerminalColumns();

}  // namespace fedgraft
