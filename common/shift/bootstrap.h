#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fedgraft {

struct BootstrapInterval {
  double estimate = 0;
  double low = 0, high = 0;
};

// Bias-corrected and accelerated bootstrap interval (Efron, "Better Bootstrap
// Confidence Intervals", 1987) of a statistic of records that come in groups: a
// patient's images are drawn together. `group` [n] names each record's patient,
// `stratum` [n] the class, within which patients are drawn so that no draw
// lacks one (a patient counts for the stratum of the first record; empty: one
// stratum). `statistic` gets indices of records, repeated as drawn, and may
// return NaN where it is not defined: such draws count as none.
// INVALID_ARGUMENT: sizes that differ, fewer than three groups, fewer than 100
// draws, or a level outside (0, 1). FAILED_PRECONDITION: the statistic is not
// defined on the records, or on half the draws.
absl::StatusOr<BootstrapInterval> BootstrapBca(
    absl::Span<const int64_t> group, absl::Span<const int64_t> stratum,
    const std::function<double(absl::Span<const int64_t>)>& statistic,
    uint64_t seed, int draws = 2000, double level = 0.95);

}  // namespace fedgraft
