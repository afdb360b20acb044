#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace fedgraft {

// One hospital. Canonical order of sites is the order of these strings.
struct SiteId {
  std::string value;
  auto operator<=>(const SiteId&) const = default;
  // INVALID_ARGUMENT unless 1–63 of a–z, 0–9, '-' and '_', starting with a
  // letter or digit.
  static absl::StatusOr<SiteId> Parse(std::string_view text);
};

// One execution of a plan.
struct RunId {
  std::string value;
  auto operator<=>(const RunId&) const = default;
};

// Rounds count from 1; round 0 names the initial model.
struct RoundId {
  uint32_t value = 0;
  auto operator<=>(const RoundId&) const = default;
};

}  // namespace fedgraft
