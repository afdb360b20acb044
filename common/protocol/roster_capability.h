#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/digest.h"

// How a site that joins says which roster its people have confirmed
// (common/net/roster.h): by its digest, as one of the join's capabilities. No
// secret: the aggregator hands rosters out.

namespace fedgraft {

inline constexpr char kRosterCapability[] = "roster:";

inline std::string RosterCapability(const Digest& roster) {
  return kRosterCapability + roster.Hex();
}

// nullopt if there is none, or no whole digest.
inline std::optional<Digest> FindRoster(
    const std::vector<std::string>& capabilities) {
  for (const std::string& capability : capabilities) {
    if (!absl::StartsWith(capability, kRosterCapability)) continue;
    const auto digest = Digest::FromHex(
        std::string_view(capability).substr(sizeof(kRosterCapability) - 1));
    if (digest.ok()) return *digest;
  }
  return std::nullopt;
}

}  // namespace fedgraft
