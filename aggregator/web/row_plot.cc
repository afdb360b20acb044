#include "aggregator/web/row_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/html.h"

namespace fedgraft {
namespace {

constexpr int kTicks = 5;
// Numbers beyond are nobody's measurement.
constexpr double kLargest = 1e100;

// Room for the marks at both ends.
constexpr double kMarginPercent = 3;

std::string Position(double percent) {
  return absl::StrFormat("%.1f%%", percent);
}

void AppendMark(const RowMark& mark, double percent, std::string& svg) {
  if (!std::isfinite(percent)) return;
  const std::string x = Position(percent);
  switch (mark.shape) {
    case MarkShape::kDot:
      absl::StrAppend(&svg, "<circle class=", mark.role, " cx=", x,
                      " cy=10 r=4 />");
      return;
    case MarkShape::kRing:
      absl::StrAppend(&svg, "<circle class=\"ring ", mark.role, "\" cx=", x,
                      " cy=10 r=5 />");
      return;
    case MarkShape::kDiamond:
      absl::StrAppend(&svg, "<svg x=", x,
                      " y=10 overflow=visible><path class=", mark.role,
                      " d=\"M-6 0 0-6 6 0 0 6z\"/></svg>");
      return;
    case MarkShape::kBar:
      absl::StrAppend(&svg, "<line class=", mark.role, " x1=", x, " x2=", x,
                      " y1=2 y2=18 />");
      return;
  }
}

}  // namespace

std::vector<double> NiceTicks(double low, double high, int count) {
  if (!(std::fabs(low) < kLargest)) low = 0;
  if (!(std::fabs(high) < kLargest)) high = low;
  const double size = std::max(std::fabs(low), std::fabs(high));
  if (!(high - low > std::max(1e-9 * size, 1 / kLargest)))
    high = low + std::max(1.0, 0.1 * size);
  const double rough = (high - low) / count;
  double step = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    if (factor * step >= rough * (1 - 1e-9)) {
      step *= factor;
      break;
    }
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  for (int i = 0; i <= count + 2 && first + i <= last; ++i) {
    ticks.push_back((first + i) * step);
  }
  return ticks;
}

int TickDigits(const std::vector<double>& ticks) {
  if (ticks.size() < 2) return 1;
  const double step = ticks[1] - ticks[0];
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0,
                    6);
}

RowScale::RowScale(const std::vector<double>& values, double least,
                   double most) {
  double low = most, high = least;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (!(low < high)) {
    low = least;
    high = most;
  }
  low = std::max(low, least);
  high = std::min(high, most);
  ticks_ = NiceTicks(low, high, kTicks);
  digits_ = TickDigits(ticks_);
  low_ = ticks_.front();
  high_ = ticks_.back();
}

double RowScale::Percent(double value) const {
  if (std::isnan(value)) return value;
  const double share = std::clamp((value - low_) / (high_ - low_), 0.0, 1.0);
  return kMarginPercent + share * (100 - 2 * kMarginPercent);
}

std::string RowPlot(const RowScale& scale, const Row& row, double reference) {
  std::string svg =
      absl::StrCat("<svg class=row role=img width=100% height=20><title>",
                   Escape(row.title), "</title>");
  for (const double tick : scale.ticks()) {
    const std::string x = Position(scale.Percent(tick));
    absl::StrAppend(&svg, "<line class=grid x1=", x, " x2=", x,
                    " y1=0 y2=20 />");
  }
  if (scale.Covers(reference)) {
    const std::string x = Position(scale.Percent(reference));
    absl::StrAppend(&svg, "<line class=ref x1=", x, " x2=", x,
                    " y1=0 y2=20 />");
  }
  for (const RowRange& range : row.ranges) {
    if (!std::isfinite(range.low) || !std::isfinite(range.high)) continue;
    absl::StrAppend(&svg, "<line class=", range.role,
                    " x1=", Position(scale.Percent(range.low)),
                    " x2=", Position(scale.Percent(range.high)),
                    " y1=10 y2=10 />");
  }
  for (const RowMark& mark : row.marks) {
    AppendMark(mark, scale.Percent(mark.value), svg);
  }
  return svg + "</svg>";
}

std::string RowAxis(const RowScale& scale, absl::string_view label) {
  std::string svg =
      absl::StrCat("<svg class=axis aria-hidden=true width=100% height=18>");
  for (const double tick : scale.ticks()) {
    const double percent = scale.Percent(tick);
    absl::StrAppendFormat(&svg,
                          "<text x=%s y=13 text-anchor=middle>%.*f</text>",
                          Position(percent), scale.digits(), tick);
  }
  return absl::StrCat(Escape(label), svg, "</svg>");
}

std::string ShareBar(double share, absl::string_view role,
                     absl::string_view text) {
  const double percent =
      std::isfinite(share) ? 100 * std::clamp(share, 0.0, 1.0) : 0;
  return absl::StrCat(
      "<svg class=share role=img width=100% height=10><title>", Escape(text),
      "</title><rect class=track width=100% height=10 rx=5 /><rect class=",
      role, " width=", Position(percent), " height=10 rx=5 /></svg>");
}

}  // namespace fedgraft
