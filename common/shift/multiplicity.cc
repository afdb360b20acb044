#include "common/shift/multiplicity.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace fedgraft {

absl::StatusOr<std::vector<double>> AdjustPValues(absl::Span<const double> p,
                                                  bool any_dependence) {
  for (double value : p) {
    if (!(value >= 0 && value <= 1)) {
      return absl::InvalidArgumentError(
          absl::StrCat("p-value: expected 0 to 1, not ", value));
    }
  }
  const auto n = static_cast<double>(p.size());
  double factor = 1;
  if (any_dependence) {
    factor = 0;
    for (size_t i = 1; i <= p.size(); ++i) factor += 1.0 / i;
  }
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&p](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double smallest = 1;
  for (size_t rank = p.size(); rank-- > 0;) {
    const double value = p[order[rank]] * n * factor / (rank + 1);
    smallest = std::min(smallest, value);
    adjusted[order[rank]] = smallest;
  }
  return adjusted;
}

}  // namespace fedgraft
