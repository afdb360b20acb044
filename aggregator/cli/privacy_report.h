#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/config/plan.h"

namespace fedgraft {

struct PrivacyQuestion {
  uint64_t records = 0;    // training records of a site; 0: several sizes
  int64_t parameters = 0;  // of the trainable set, for site privacy
  double target = 0;       // epsilon for which to find the noise; 0: none
};

// What a plan's training costs in epsilon, for people: over rounds, for each
// observer, and what the number does not cover. INVALID_ARGUMENT: the plan has
// no differential privacy, or site privacy without `parameters`.
absl::StatusOr<std::string> PrivacyReport(const Plan& plan,
                                          const PrivacyQuestion& question);

}  // namespace fedgraft
