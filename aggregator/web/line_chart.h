#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace fedgraft {

// Lines over rounds, as SVG with title and description.
struct LineChart {
  struct Series {
    std::string name;        // written at its end; empty: not written
    absl::string_view role;  // class of the style sheet: fed, muted, bad …
    std::vector<double> y;   // as many as `x`; what is no number is left out
    std::vector<double> low, high;  // a band about it; empty: none
  };
  struct Limit {
    double value = 0;
    std::string label;
  };
  struct Marker {
    double x = 0, y = 0;
    std::string title;
  };
  std::string title;        // stands above the chart
  std::string description;  // in words, for screen readers
  std::vector<double> x;    // rounds, ascending
  std::vector<Series> series;
  std::vector<Limit> limits;                // dashed lines across
  std::vector<Marker> markers;              // alarms
  double y_least = -1e300, y_most = 1e300;  // the axis does not leave these
};

// A <figure>. Empty if there is no point at all.
std::string RenderLineChart(const LineChart& chart);

}  // namespace fedgraft
