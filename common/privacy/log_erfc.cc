#include "common/privacy/log_erfc.h"

#include <cmath>
#include <numbers>

namespace fedgraft {

double LogErfc(double x) {
  constexpr double kLarge = 20;
  if (x < kLarge) return std::log(std::erfc(x));
  // Asymptotic series; the first term left out is below 1e-12 from here on.
  const double y = 1 / (2 * x * x);
  const double series = 1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y)));
  return -x * x - std::log(x * std::sqrt(std::numbers::pi)) + std::log(series);
}

}  // namespace fedgraft
