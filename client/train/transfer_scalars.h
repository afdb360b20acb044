#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/image.h"
#include "client/train/site_metrics.h"

namespace fedgraft {

// Whether the site is better off with the federated model than with its own
// (client/shift/negative_transfer.h): transfer.delta, .low, .high and .p, of
// the AUC for two classes, else of the balanced accuracy. Patients' images go
// together. Empty if there are too few records to say. `samples` are those that
// both predictions are of, in order.
absl::StatusOr<std::map<std::string, double>> TransferScalars(
    const Predictions& federated, const Predictions& local,
    const std::vector<Sample>& samples, uint64_t seed);

}  // namespace fedgraft
