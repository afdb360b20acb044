#pragma once

#include "common/config/plan.h"

namespace fedgraft {

// The architecture whose data are feature vectors: there is no backbone file.
inline constexpr char kIdentity[] = "identity";

inline bool HasBackbone(const Plan& plan) {
  return plan.architecture != kIdentity;
}

}  // namespace fedgraft
