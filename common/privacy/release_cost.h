#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/config/plan.h"
#include "common/privacy/distributed_gaussian.h"
#include "common/privacy/epsilon.h"

namespace fedgraft {

// What one update costs those whom a plan's privacy protects: each record of
// the site (`record`), or the site as a whole (`site`).
struct ReleaseCost {
  DifferentialPrivacy kind = DifferentialPrivacy::kNone;
  // record: steps of DP-SGD, each of the sampled Gaussian mechanism.
  double noise_multiplier = 1;
  double rate = 0;
  double steps = 0;
  // site
  DistributedGaussian sum;

  bool operator==(const ReleaseCost&) const = default;
};

// So many releases of the same cost.
struct Releases {
  ReleaseCost cost;
  double count = 0;
};

// Who must not learn more than epsilon. For record privacy it makes no
// difference: the noise is in each update.
enum class Observer {
  kAggregator,  // sees what sites send: sums alone under secure aggregation
  kPublic,      // sees published models
};

// DP-SGD over `records` training records: rate and steps of a round. A step's
// batch is drawn anew, with batch_size records on average; an epoch has as many
// steps as it takes to see each record once on average.
double SamplingRate(const Plan& plan, uint64_t records);
int64_t StepsPerRound(const Plan& plan, uint64_t records);

// Of one training round. `records`: of the site, for record privacy;
// `parameters`: of the trainable set, for site privacy. INVALID_ARGUMENT: the
// plan has no privacy, or there are no records or parameters.
absl::StatusOr<ReleaseCost> CostOfRound(const Plan& plan, uint64_t records,
                                        int64_t parameters, Observer observer);

double RdpOf(const ReleaseCost& cost, double order);
// Of everything together. REQUIRES: 0 < delta < 1.
Epsilon TotalEpsilon(absl::Span<const Releases> releases, double delta);

}  // namespace fedgraft
