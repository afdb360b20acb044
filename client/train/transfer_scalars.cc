#include "client/train/transfer_scalars.h"

#include "client/shift/comparisons.h"
#include "client/shift/negative_transfer.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

std::vector<double> ScoresOf(const Predictions& predictions) {
  return {predictions.probabilities.begin(), predictions.probabilities.end()};
}

// A number for each patient; an image without one is its own.
std::vector<int64_t> PatientsOf(const std::vector<Sample>& samples) {
  std::map<std::string, int64_t> numbers;
  std::vector<int64_t> patients;
  for (size_t i = 0; i < samples.size(); ++i) {
    const int64_t own = static_cast<int64_t>(i);
    patients.push_back(
        samples[i].patient.empty()
            ? own
            : numbers.emplace(samples[i].patient, own).first->second);
  }
  return patients;
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> TransferScalars(
    const Predictions& federated, const Predictions& local,
    const std::vector<Sample>& samples, uint64_t seed) {
  FG_CHECK(federated.count() == samples.size() &&
           local.count() == samples.size());
  const std::vector<double> a = ScoresOf(federated), b = ScoresOf(local);
  const std::vector<int64_t> labels(federated.labels.begin(),
                                    federated.labels.end());
  const std::vector<int64_t> patients = PatientsOf(samples);
  const auto n = static_cast<int64_t>(samples.size());
  const auto classes = static_cast<int64_t>(federated.classes);
  const auto comparison = CompareTransfer(
      {labels, {a, n, classes}, {b, n, classes}, patients},
      classes == 2 ? TransferMeasure::kAuc : TransferMeasure::kBalancedAccuracy,
      seed);
  std::map<std::string, double> scalars;
  if (DoesNotApply(comparison.status())) return scalars;
  if (!comparison.ok()) return comparison.status();
  AddTransfer(*comparison, scalars);
  return scalars;
}

}  // namespace fedgraft
