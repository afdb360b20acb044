#include "tests/shift/simulated_federation.h"

#include <algorithm>
#include <cmath>

#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr double kSeparation = 1.2;   // of the class means, deviations
constexpr double kTemperature = 1.3;  // of the run model, which is too sure

std::vector<double> Softmax(std::vector<double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double& value : logits) sum += value = std::exp(value - top);
  for (double& value : logits) value /= sum;
  return logits;
}

}  // namespace

SketchRecords SimulatedRecords::View(const SimulationOptions& options) const {
  const auto n = static_cast<int64_t>(labels.size());
  return {.features = {features, n, options.feature_dim},
          .labels = labels,
          .outputs = {outputs, n, options.num_classes},
          .acquisition = {acquisition, n, kAcquisitions},
          .devices =
              options.has_devices ? devices : absl::Span<const DeviceBins>()};
}

RecordSource::RecordSource(const SimulationOptions& options, uint64_t seed)
    : options_(options), random_(seed), device_random_(~seed) {
  const int64_t d = options_.feature_dim;
  const int classes = options_.num_classes;
  // Class c's mean along axis c; the first class's at the origin.
  means_.assign(classes * d, 0);
  direction_.assign(d, 0);
  for (int c = 0; c < classes; ++c) {
    if (c > 0) means_[c * d + c - 1] = 2 * kSeparation;
    log_prior_.push_back(options_.prior.empty() ? -0.4 * c
                                                : std::log(options_.prior[c]));
    if (c > 0) direction_[c - 1] = 0.5;
  }
  direction_[d - 1] = 1;
  double norm = 0;
  for (double value : direction_) norm += value * value;
  for (double& value : direction_) value /= std::sqrt(norm);
}

std::vector<double> RecordSource::Posterior(const double* x) const {
  const int64_t d = options_.feature_dim;
  std::vector<double> logits(log_prior_);
  for (int c = 0; c < options_.num_classes; ++c) {
    for (int64_t i = 0; i < d; ++i) {
      const double m = means_[c * d + i];
      logits[c] += m * x[i] - m * m / 2;
    }
  }
  return Softmax(logits);
}

int RecordSource::Label(const std::vector<double>& weights) {
  return std::discrete_distribution<int>(weights.begin(),
                                         weights.end())(random_);
}

DeviceBins RecordSource::Device(const SiteDials& dials) {
  std::uniform_real_distribution<double> uniform;
  if (uniform(device_random_) < dials.own_scanner) return {19, 31};
  if (uniform(device_random_) < 0.1) return {};
  static const std::vector<double> kShares = {0.5, 0.3, 0.2};
  std::discrete_distribution<int> shares(kShares.begin(), kShares.end());
  const int manufacturer = shares(device_random_);
  return {static_cast<uint8_t>(4 * manufacturer),
          static_cast<uint8_t>(3 * manufacturer + shares(device_random_))};
}

SimulatedRecords RecordSource::Draw(int64_t n, const SiteDials& dials) {
  const int64_t d = options_.feature_dim;
  const int classes = options_.num_classes;
  const std::vector<double> prior = Softmax(log_prior_);
  std::discrete_distribution<int> component(prior.begin(), prior.end());
  std::uniform_real_distribution<double> uniform;
  // By label, largest 1.
  std::vector<double> keep(classes, 1);
  keep.back() = std::exp(dials.label);
  for (int c = 0; c < classes && !dials.prior.empty(); ++c) {
    keep[c] = dials.prior[c] / prior[c];
  }
  const double most = *std::max_element(keep.begin(), keep.end());
  for (double& share : keep) share /= most;
  // The centre of the means, about which slopes turn.
  std::vector<double> centre(d);
  for (int c = 0; c < classes; ++c) {
    for (int64_t i = 0; i < d; ++i) centre[i] += prior[c] * means_[c * d + i];
  }
  SimulatedRecords records;
  std::vector<double> x(d), read(d);
  while (static_cast<int64_t>(records.labels.size()) < n) {
    const int c = component(random_);
    for (int64_t i = 0; i < d; ++i) {
      x[i] = means_[c * d + i] + Normal() + dials.covariate * direction_[i];
      // Slopes times (1 - change) are the head of features drawn together.
      read[i] = centre[i] + (1 - dials.concept_change) * (x[i] - centre[i]);
    }
    int y = Label(Posterior(x.data()));
    if (uniform(random_) >= keep[y]) continue;
    if (dials.concept_change != 0) {
      std::vector<double> read_as = Posterior(read.data());
      for (int k = 0; k < classes; ++k) read_as[k] *= keep[k];
      y = Label(read_as);
    }
    records.labels.push_back(y);
    records.devices.push_back(Device(dials));
    std::vector<double> logits = Posterior(x.data());
    for (double& value : logits) {
      value = kTemperature * std::log(std::max(value, 1e-12));
    }
    for (double value : Softmax(logits)) records.outputs.push_back(value);
    for (int64_t i = 0; i < d; ++i) {
      const double tail = options_.heavy_tails ? 0.1 * x[i] * x[i] * x[i] : 0;
      records.features.push_back(x[i] + tail);
    }
    records.acquisition.push_back(Normal() + dials.covariate);
    records.acquisition.push_back(Normal());
    records.acquisition.push_back(std::exp(0.5 * Normal()));
    records.acquisition.push_back(Normal());
  }
  return records;
}

absl::StatusOr<std::vector<ShiftScalars>> SketchAndTest(
    const SimulationOptions& options,
    const std::vector<SimulatedRecords>& records, uint64_t seed, int tested) {
  SketchSpec spec;
  spec.feature_dim = options.feature_dim;
  spec.num_classes = options.num_classes;
  spec.seed = seed;
  spec.has_outputs = options.has_outputs;
  spec.has_acquisition = options.has_acquisition;
  spec.has_devices = options.has_devices;
  FG_ASSIGN_OR_RETURN(Sketch sketch, Sketch::Create(spec));
  std::vector<SiteSketch> sites;
  for (const SimulatedRecords& of_site : records) {
    FG_ASSIGN_OR_RETURN(SiteSketch site,
                        SiteSketch::Create(sketch, of_site.View(options)));
    sites.push_back(std::move(site));
  }
  while (!sketch.done()) {
    std::vector<uint64_t> total(sketch.layout().count());
    for (SiteSketch& site : sites) {
      FG_ASSIGN_OR_RETURN(const std::vector<double> sums, site.Sums(sketch));
      FG_RETURN_IF_ERROR(CheckSketch(sketch.layout(), sums));
      FG_ASSIGN_OR_RETURN(const std::vector<uint64_t> words,
                          PackSketch(sketch.layout(), sums));
      for (size_t i = 0; i < words.size(); ++i) total[i] += words[i];
    }
    FG_ASSIGN_OR_RETURN(const std::vector<double> pooled,
                        UnpackSketch(sketch.layout(), total));
    FG_RETURN_IF_ERROR(sketch.Add(pooled));
  }
  std::vector<ShiftScalars> scalars;
  for (int i = 0; i < tested; ++i) {
    FG_ASSIGN_OR_RETURN(ShiftScalars of_site,
                        TestSite(sketch, sites[i], sites[i].n()));
    scalars.push_back(std::move(of_site));
  }
  return scalars;
}

}  // namespace fedgraft
