#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/base/digest.h"

namespace fedgraft::testing {

struct SimulationOptions {
  uint64_t seed = 1;
  int sites = 3;
  int rounds = 4;
  // False: the same world (same plan, sites and training) undisturbed.
  bool faults = true;
  // Secure aggregation: drawn from the seed, unless set.
  std::optional<bool> secure = std::nullopt;
};

struct SimulationResult {
  std::string failure;  // empty: all went well
  uint64_t trace_hash = 0;
  Digest model;  // final
  // Every site is in every round, so the model is that of the run without
  // faults.
  bool quorum_is_all = false;
  absl::Duration simulated;
  uint64_t events = 0, messages = 0, crashes = 0, acknowledged = 0;
  bool secure = false;
  uint64_t abandoned = 0;  // masked sums that were begun again

  bool ok() const { return failure.empty(); }
};

// One run of real Coordinator and real Agents on one event loop, through the
// real protocol bytes, with faults drawn from the seed: messages lost, late,
// doubled or damaged, partitions, dying processes, disks that lose what was
// not synced, fill up or stop in the middle, pauses by the operator, a member
// that cheats. Faults end after a while; then the run has to finish. A pure
// function of its options.
SimulationResult RunSimulation(const SimulationOptions& options);

}  // namespace fedgraft::testing
