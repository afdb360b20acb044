#include "common/shift/cusum.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/shift/distributions.h"

namespace fedgraft {
namespace {

constexpr int kStates = 128;  // of the Markov chain
constexpr double kThresholdMax = 40;
// A change of a share from one value to the next that is rounding.
constexpr double kSettled = 1e-14;

// Probability that one side stays at or below the threshold.
double QuietProbability(double threshold, int values, double slack) {
  // One side: state i stands for S in ((i - 1/2) w, (i + 1/2) w], 0 for S = 0.
  const double width = 2 * threshold / (2 * kStates - 1);
  Eigen::MatrixXd step(kStates, kStates);
  // By how many states the upper edge of j lies above i, from 1 - kStates on.
  Eigen::VectorXd below(2 * kStates - 1);
  for (int i = 0; i < below.size(); ++i) {
    below[i] = 1 - NormalTail((i + 1.5 - kStates) * width + slack);
  }
  for (int i = 0; i < kStates; ++i) {
    const int own = kStates - 1 - i;
    step(i, 0) = below[own];
    for (int j = 1; j < kStates; ++j) {
      step(i, j) = below[own + j] - below[own + j - 1];
    }
  }
  Eigen::RowVectorXd state = Eigen::RowVectorXd::Zero(kStates);
  state[0] = 1;
  // The share that stays quiet from one value to the next settles once S had
  // the time to come to the threshold (half a deviation a value is its
  // likeliest way); from then on it is that of every further one.
  const double settles_at = 20 + 4 * threshold;
  double quiet = 1, share = 0;
  for (int t = 0; t < values; ++t) {
    state = state * step;
    const double now = state.sum() / quiet;
    quiet = state.sum();
    if (!(quiet > 0)) return 0;
    if (t > settles_at && std::abs(now - share) < kSettled) {
      quiet *= std::pow(now, values - 1 - t);
      break;
    }
    share = now;
  }
  return std::clamp(quiet, 0.0, 1.0);
}

// The threshold of this probability, which falls as thresholds rise.
template <typename Probability>
double Solve(double rate, const Probability& probability) {
  double low = 0, high = kThresholdMax;
  for (int i = 0; i < 40; ++i) {
    const double middle = (low + high) / 2;
    (probability(middle) > rate ? low : high) = middle;
  }
  return high;
}

}  // namespace

bool Cusum::Add(double value) {
  if (values_ > 0) {
    const double n = values_ + 1;
    const double u =
        std::clamp(std::sqrt(values_ / n) * (value - mean_) / deviation_,
                   -kStepMax, kStepMax);
    high_ = std::max(0.0, high_ + u - kSlack);
    low_ = std::max(0.0, low_ - u - kSlack);
  }
  ++values_;
  mean_ += (value - mean_) / values_;
  if (alarmed_) return false;
  alarmed_ = high_ > threshold_ || low_ > low_threshold_;
  return alarmed_;
}

double CusumAlarmProbability(double threshold, int values, double slack) {
  const double quiet = QuietProbability(threshold, values, slack);
  // The two sides alarm as if independent: one falls while the other rises.
  return 1 - quiet * quiet;
}

absl::StatusOr<double> CusumSideThreshold(double rate, int values) {
  if (!(rate > 0 && rate < 1) || values < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CUSUM: expected a rate in (0, 1) over one value or more, not ", rate,
        " over ", values));
  }
  return Solve(rate, [&](double threshold) {
    return 1 - QuietProbability(threshold, values, Cusum::kSlack);
  });
}

absl::StatusOr<double> CusumThreshold(double rate, int charts, int values) {
  if (!(rate > 0 && rate < 1) || charts < 1 || values < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "CUSUM: expected a rate in (0, 1) over one chart and value or more, "
        "not ",
        rate, " over ", charts, " and ", values));
  }
  return Solve(-std::expm1(std::log1p(-rate) / charts), [&](double threshold) {
    return CusumAlarmProbability(threshold, values);
  });
}

}  // namespace fedgraft
