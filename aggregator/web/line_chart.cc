#include "aggregator/web/line_chart.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/web/html.h"
#include "aggregator/web/row_plot.h"

namespace fedgraft {
namespace {

// The drawing's coordinates.
constexpr double kWidth = 360, kHeight = 200;
constexpr double kLeft = 46, kRight = 14, kTop = 10, kBottom = 30;
constexpr double kLabelGap = 12;

// Where numbers lie in the drawing.
struct Frame {
  double x_low, x_high, y_low, y_high;
  std::vector<double> x_ticks, y_ticks;

  double X(double x) const {
    const double share = x_high > x_low ? (x - x_low) / (x_high - x_low) : 0.5;
    return kLeft + share * (kWidth - kLeft - kRight);
  }
  double Y(double y) const {
    const double share = std::clamp((y - y_low) / (y_high - y_low), 0.0, 1.0);
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

double ValueAt(const std::vector<double>& values, size_t i) {
  return i < values.size() ? values[i] : std::nan("");
}

// False if there is nothing to draw.
bool FindFrame(const LineChart& chart, Frame& frame) {
  double low = 1e300, high = -1e300;
  const auto take = [&](double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const LineChart::Series& series : chart.series) {
    for (const double y : series.y) take(y);
    for (const double y : series.low) take(y);
    for (const double y : series.high) take(y);
  }
  if (low > high || chart.x.empty()) return false;
  for (const LineChart::Limit& limit : chart.limits) take(limit.value);
  // A constant line lies in the middle.
  if (high - low < 1e-12 * std::max(1.0, std::fabs(high))) {
    const double room = std::max(0.05 * std::fabs(high), 1e-3);
    low -= room;
    high += room;
  }
  frame.y_ticks =
      NiceTicks(std::max(low, chart.y_least), std::min(high, chart.y_most), 4);
  frame.y_low = frame.y_ticks.front();
  frame.y_high = frame.y_ticks.back();
  frame.x_low = chart.x.front();
  frame.x_high = chart.x.back();
  for (const double tick : NiceTicks(frame.x_low, frame.x_high, 5)) {
    if (tick < frame.x_low || tick > frame.x_high) continue;
    if (tick == std::floor(tick)) frame.x_ticks.push_back(tick);
  }
  if (frame.x_ticks.empty()) frame.x_ticks.push_back(frame.x_low);
  return true;
}

void AppendAxes(const Frame& frame, std::string& svg) {
  const int digits = TickDigits(frame.y_ticks);
  for (const double tick : frame.y_ticks) {
    absl::StrAppendFormat(
        &svg,
        "<path class=grid d=\"M%.0f %.1fH%.0f\"/><text x=%.0f y=%.1f "
        "text-anchor=end>%.*f</text>",
        kLeft, frame.Y(tick), kWidth - kRight, kLeft - 6, frame.Y(tick) + 4,
        digits, tick);
  }
  for (const double tick : frame.x_ticks) {
    absl::StrAppendFormat(&svg,
                          "<text x=%.1f y=%.0f text-anchor=middle>%.0f</text>",
                          frame.X(tick), kHeight - kBottom + 15, tick);
  }
  absl::StrAppendFormat(
      &svg, "<text class=unit x=%.0f y=%.0f text-anchor=end>round</text>",
      kWidth - kRight, kHeight - 2);
}

// One line through all points; a lone point becomes a dot.
void AppendLine(const Frame& frame, const std::vector<double>& x,
                const LineChart::Series& series, std::string& svg) {
  std::string path, dot;
  int count = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double y = ValueAt(series.y, i);
    if (!std::isfinite(y)) continue;
    absl::StrAppendFormat(&path, "%c%.1f %.1f", count++ == 0 ? 'M' : 'L',
                          frame.X(x[i]), frame.Y(y));
    if (count > 1) continue;
    dot = absl::StrFormat("<circle class=%s cx=%.1f cy=%.1f r=3 />",
                          series.role, frame.X(x[i]), frame.Y(y));
  }
  if (count == 1) {
    svg += dot;
  } else if (count > 1) {
    absl::StrAppend(&svg, "<path class=\"line ", series.role, "\" d=\"", path,
                    "\"/>");
  }
}

void AppendBand(const Frame& frame, const std::vector<double>& x,
                const LineChart::Series& series, std::string& svg) {
  std::string upper, lower;
  for (size_t i = 0; i < x.size(); ++i) {
    const double low = ValueAt(series.low, i), high = ValueAt(series.high, i);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    absl::StrAppendFormat(&upper, "%s%.1f %.1f", upper.empty() ? "M" : "L",
                          frame.X(x[i]), frame.Y(high));
    lower = absl::StrFormat("L%.1f %.1f", frame.X(x[i]), frame.Y(low)) + lower;
  }
  if (upper.empty()) return;
  absl::StrAppend(&svg, "<path class=\"band ", series.role, "\" d=\"", upper,
                  lower, "z\"/>");
}

// Names at the lines' ends, moved apart where they would overlap.
void AppendNames(const Frame& frame, const LineChart& chart, std::string& svg) {
  struct Label {
    double y;
    const LineChart::Series* series;
  };
  std::vector<Label> labels;
  for (const LineChart::Series& series : chart.series) {
    if (series.name.empty()) continue;
    for (size_t i = series.y.size(); i-- > 0;) {
      if (!std::isfinite(series.y[i])) continue;
      labels.push_back({frame.Y(series.y[i]) - 5, &series});
      break;
    }
  }
  std::sort(labels.begin(), labels.end(),
            [](const Label& a, const Label& b) { return a.y < b.y; });
  double last = 0;
  for (Label& label : labels) {
    label.y = std::max(label.y, last + kLabelGap);
    last = label.y;
    absl::StrAppendFormat(&svg,
                          "<text class=\"name %s\" x=%.0f y=%.1f "
                          "text-anchor=end>%s</text>",
                          label.series->role, kWidth - kRight - 2, label.y,
                          Escape(label.series->name));
  }
}

}  // namespace

std::string RenderLineChart(const LineChart& chart) {
  Frame frame;
  if (!FindFrame(chart, frame)) return "";
  std::string svg = absl::StrFormat(
      "<figure><figcaption>%s</figcaption><svg class=chart role=img "
      "viewBox=\"0 0 %.0f %.0f\"><title>%s</title><desc>%s</desc>",
      Escape(chart.title), kWidth, kHeight, Escape(chart.title),
      Escape(chart.description));
  AppendAxes(frame, svg);
  for (const LineChart::Series& series : chart.series) {
    AppendBand(frame, chart.x, series, svg);
  }
  for (const LineChart::Series& series : chart.series) {
    AppendLine(frame, chart.x, series, svg);
  }
  for (const LineChart::Limit& limit : chart.limits) {
    absl::StrAppendFormat(
        &svg,
        "<path class=limit d=\"M%.0f %.1fH%.0f\"/><text class=limit x=%.0f "
        "y=%.1f>%s</text>",
        kLeft, frame.Y(limit.value), kWidth - kRight, kLeft + 4,
        frame.Y(limit.value) + (frame.Y(limit.value) < 2 * kTop ? 14 : -4),
        Escape(limit.label));
  }
  for (const LineChart::Marker& marker : chart.markers) {
    absl::StrAppendFormat(
        &svg,
        "<path class=bad d=\"M%.1f %.1fl5-9h-10z\"><title>%s</title></path>",
        frame.X(marker.x), frame.Y(marker.y) - 3, Escape(marker.title));
  }
  AppendNames(frame, chart, svg);
  return svg + "</svg></figure>";
}

}  // namespace fedgraft
