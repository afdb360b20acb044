#include "client/train/progress_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fedgraft {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(200);
constexpr absl::Duration kPlainLine = absl::Seconds(30);
constexpr int kBarColumnsMin = 5, kBarColumnsMax = 30;

// 12s, 3m05s, 2h07m.
std::string Short(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(
      0, absl::ToInt64Seconds(duration + absl::Milliseconds(500)));
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) {
    return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  }
  return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
}

}  // namespace

ProgressLine::ProgressLine(const Clock& clock, int width,
                           std::function<void(std::string_view)> write)
    : clock_(clock),
      width_(width),
      write_(std::move(write)),
      start_(clock.Monotonic()) {}

ProgressLine::~ProgressLine() {
  if (line_open_) write_("\n");
}

void ProgressLine::Show(const SslProgress& progress) {
  if (progress.resumed) {
    first_step_ = progress.step;
    write_(absl::StrFormat("resuming after step %d of %d\n", progress.step,
                           progress.steps));
    return;
  }
  const absl::Time now = clock_.Monotonic();
  const bool last = progress.step == progress.steps;
  if (width_ == 0) {
    if (shown_ == absl::InfinitePast()) shown_ = start_;
    if (!progress.epoch_ends && now - shown_ < kPlainLine) return;
    shown_ = now;
    write_(Text(progress, now - start_) + "\n");
    return;
  }
  if (!last && now - shown_ < kRedraw) return;
  shown_ = now;
  std::string text = Text(progress, now - start_);
  text += Bar(progress, text.size());
  // A line that is wrapped could not be drawn over.
  text.resize(std::min(text.size(), static_cast<size_t>(width_ - 1)));
  write_(absl::StrCat("\r", text, "\x1b[K", last ? "\n" : ""));
  line_open_ = !last;
}

std::string ProgressLine::Text(const SslProgress& progress,
                               absl::Duration passed) const {
  const auto steps = static_cast<double>(progress.step - first_step_);
  const double seconds = std::max(absl::ToDoubleSeconds(passed), 1e-9);
  const double rate =
      steps * static_cast<double>(progress.images_per_step) / seconds;
  std::string text =
      absl::StrFormat("epoch %d/%d  loss %.4f  %.0f images/s", progress.epoch,
                      progress.epochs, progress.loss, rate);
  if (progress.step == progress.steps) {
    absl::StrAppend(&text, "  took ", Short(passed));
  } else if (steps > 0) {
    const auto left = static_cast<double>(progress.steps - progress.step);
    absl::StrAppend(&text, "  ETA ", Short(passed * (left / steps)));
  }
  return text;
}

std::string ProgressLine::Bar(const SslProgress& progress,
                              size_t text_size) const {
  const int room = width_ - 1 - static_cast<int>(text_size) - 9;
  const int columns = std::min(room, kBarColumnsMax);
  if (columns < kBarColumnsMin) return "";
  const double share =
      static_cast<double>(progress.step) / static_cast<double>(progress.steps);
  const auto full = static_cast<size_t>(share * columns);
  return absl::StrFormat("  [%s%s] %3.0f%%", std::string(full, '#'),
                         std::string(columns - full, '.'), 100 * share);
}

int TerminalColumns() {
  winsize size{};
  if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) {
    return 0;
  }
  return size.ws_col;
}

}  // namespace fedgraft
