#pragma once

#include "absl/status/statusor.h"
#include "client/policy/site_policy.h"

namespace fedgraft::pb {
class PolicyConfig;
}

namespace fedgraft {

// The configuration's edge. Numbers that are not set (0) take the defaults of
// SitePolicy. INVALID_ARGUMENT naming the key: an unknown strategy, a plan hash
// that is not 64 hexadecimal digits, a number out of range.
absl::StatusOr<SitePolicy> PolicyFromConfig(const pb::PolicyConfig& config);

}  // namespace fedgraft
