#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/shift_test.h"
#include "client/shift/site_sketch.h"
#include "common/shift/sketch.h"

namespace fedgraft {

// How one site differs from the others. 0: it does not.
struct SiteDials {
  // Features move by this many deviations along a direction that has a share of
  // every class contrast; brightness moves by as much.
  double covariate = 0;
  // Log odds of the last class against the others, on top of the base rate.
  double label = 0;
  // The head's slopes turn by this share of themselves: 2 is the opposite
  // reading. p(x) stays, and how common the classes are at the mean.
  double concept_change = 0;
  // Shares of the classes, if not the federation's: label shift, too.
  std::vector<double> prior = {};
  // Share of the records that come from a scanner that no other site has.
  double own_scanner = 0;
};

struct SimulationOptions {
  int sites = 5;
  int64_t records = 200;
  int num_classes = 3;
  int64_t feature_dim = 24;
  std::vector<double> prior;  // empty: falling by a third a class
  // Features are cubed a little, so that they have heavy tails.
  bool heavy_tails = false;
  bool has_outputs = true;
  bool has_acquisition = true;
  bool has_devices = true;
};

// A site's records as arrays of its own.
struct SimulatedRecords {
  std::vector<double> features, outputs, acquisition;
  std::vector<int64_t> labels;
  std::vector<DeviceBins> devices;  // emptied: not told
  SketchRecords View(const SimulationOptions& options) const;
};

// Normal classes with one covariance, so that the true head is logistic:
// x from the mixture, moved by the covariate dial; the class from the head; the
// pair is kept with a probability by the label dial; where the concept dial is
// set, the label is then read anew, from the turned head with the site's
// intercepts.
class RecordSource {
 public:
  RecordSource(const SimulationOptions& options, uint64_t seed);
  SimulatedRecords Draw(int64_t n, const SiteDials& dials);
  // True class probabilities without any dial, [C].
  std::vector<double> Posterior(const double* x) const;

 private:
  double Normal() { return normal_(random_); }
  // Three manufacturers in uneven shares, three models each; one record in ten
  // does not tell.
  DeviceBins Device(const SiteDials& dials);
  int Label(const std::vector<double>& weights);
  const SimulationOptions options_;
  std::mt19937_64 random_, device_random_;
  std::normal_distribution<double> normal_;
  std::vector<double> means_;      // [C, d]
  std::vector<double> log_prior_;  // [C]
  std::vector<double> direction_;  // [d], of the covariate dial
};

// One sketch of all sites, through packed ring words and checks, and the tests
// of the first `tested` of them.
absl::StatusOr<std::vector<ShiftScalars>> SketchAndTest(
    const SimulationOptions& options,
    const std::vector<SimulatedRecords>& records, uint64_t seed, int tested);

}  // namespace fedgraft
