#pragma once

#include "absl/status/statusor.h"

namespace fedgraft {

// Watches one statistic of one site for a lasting change: two-sided CUSUM that
// learns the site's own level as it goes (Hawkins, "Self-starting CUSUM charts
// for location and scale", 1987, with the scale known). Each value is judged by
// the mean of the ones before it,
//   U_n = sqrt((n - 1) / n) (x_n - mean of n - 1) / deviation,
// which is N(0, 1) and independent of the others as long as the values are
// normal with one mean, whatever it is: a site may differ from the others for
// ever without alarm. U is cut at kStepMax, so that no single value, whose tail
// may be heavier than normal, is an alarm. Then
//   S+ = max(0, S+ + U - k),  S- = max(0, S- - U - k),  alarm above h.
//
// Feed it only what is new: the same records under the same representation
// again would repeat one value, and alarm for certain.
class Cusum {
 public:
  // k, half the change that the chart is tuned to. At equal false alarms 0.75
  // finds two deviations within 8 values more often (81 %) than 0.5 (76 %) and
  // 1 (76 %), as the level learned from 20 values gives way to the change.
  static constexpr double kSlack = 0.75;
  static constexpr double kStepMax = 3.25;

  // `deviation` of the statistic between looks at one unchanged site: 1 for the
  // normal deviate of a p-value, or what the sites' charts show together.
  // REQUIRES: above 0.
  explicit Cusum(double threshold, double deviation = 1)
      : Cusum(threshold, threshold, deviation) {}
  // With a threshold of its own for S-.
  Cusum(double threshold, double low_threshold, double deviation)
      : threshold_(threshold),
        low_threshold_(low_threshold),
        deviation_(deviation) {}

  // True if this value raises an alarm. After an alarm the chart stays up until
  // Acknowledge. REQUIRES: finite.
  bool Add(double value);
  // The change is known: forget the level, learn the new one.
  void Acknowledge() { *this = Cusum(threshold_, low_threshold_, deviation_); }

  double threshold() const { return threshold_; }
  double high() const { return high_; }
  double low() const { return low_; }
  bool alarmed() const { return alarmed_; }
  int values() const { return values_; }

 private:
  double threshold_, low_threshold_;
  double deviation_;
  int values_ = 0;
  double mean_ = 0;
  double high_ = 0, low_ = 0;
  bool alarmed_ = false;
};

// h for which a run of `charts` independent charts over `values` values each
// raises any alarm with probability `rate` if nothing changes (Brook and
// Evans's Markov chain, "An approach to the probability distribution of CUSUM
// run length", 1972, on a finite run). INVALID_ARGUMENT: rate outside (0, 1),
// or a count below 1.
absl::StatusOr<double> CusumThreshold(double rate, int charts, int values);
// h for which one side of one chart alarms within `values` values with
// probability `rate`. INVALID_ARGUMENT as above.
absl::StatusOr<double> CusumSideThreshold(double rate, int values);
// Probability that one two-sided chart alarms within `values` values.
double CusumAlarmProbability(double threshold, int values,
                             double slack = Cusum::kSlack);

}  // namespace fedgraft
