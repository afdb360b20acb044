#pragma once

#include <cmath>
#include <cstddef>

#include "common/config/plan.h"

// What follows from the rule's keys, for the plan's checks and for the rules.

namespace fedgraft {

// True if the rule needs single updates (or sums of groups), not the sum alone.
inline bool IsRobustRule(const RuleSpec& rule) {
  return rule.kind == "median" || rule.kind == "trimmed_mean" ||
         rule.kind == "krum" || rule.kind == "multi_krum";
}

// Words that a site sends behind those of the parameters.
inline int ExtraWords(const RuleSpec& rule) {
  return rule.kind == "fed_nova" ? 1 : 0;  // common/numeric/fed_nova.h
}

// True if control variates travel beside the parameters
// (common/model/control_variates.h).
inline bool HasControlVariates(const RuleSpec& rule) {
  return rule.kind == "scaffold";
}

// Updates that a trimmed mean of `updates` cuts at each end.
inline size_t TrimCount(double trim_fraction, size_t updates) {
  // 0.3 · 10 is meant to be 3, whatever the product's last bit says.
  return static_cast<size_t>(
      std::floor(trim_fraction * static_cast<double>(updates) + 1e-9));
}

// Blanchard et al. 2017, proposition 4.2: n >= 2f + 3.
inline size_t KrumUpdatesMin(size_t byzantine) { return 2 * byzantine + 3; }

}  // namespace fedgraft
