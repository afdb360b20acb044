#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/policy/site_policy.h"
#include "common/base/ids.h"
#include "common/privacy/release_cost.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// Proof that an update's cost is in the ledger, durably. Only a ledger makes
// one, and an update with differential privacy is not built without.
class PrivacyCharge {
 public:
  const RunId& run() const { return run_; }
  RoundId round() const { return round_; }
  const ReleaseCost& cost() const { return cost_; }
  // Of the data set, with this charge.
  double epsilon() const { return epsilon_; }

 private:
  friend class BudgetLedger;
  PrivacyCharge(RunId run, RoundId round, ReleaseCost cost, double epsilon)
      : run_(std::move(run)), round_(round), cost_(cost), epsilon_(epsilon) {}
  RunId run_;
  RoundId round_;
  ReleaseCost cost_;
  double epsilon_;
};

// What a data set's releases have cost so far, over all runs, in
// privacy/<data_set>.json of the site's state folder.
//
//  1. A charge is durable before Charge returns it: after a crash the ledger
//     may count an update that was never sent, never the other way round.
//  2. With a budget, what the ledger counts never exceeds it.
//  3. A ledger that cannot be read is not taken for an empty one.
//
// Each update that is built is charged, also one that is built a second time:
// its noise is new. Releases of record and of site privacy protect different
// things and do not add up, so one data set takes one kind.
//
// Not thread-safe, and one ledger per state folder (the daemon holds its lock).
class BudgetLedger {
 public:
  // `files` outlives the ledger.
  BudgetLedger(FileStore& files, PrivacyBudget budget)
      : files_(files), budget_(std::move(budget)) {}

  // PERMISSION_DENIED: it would exceed policy.epsilon_max, or the data set was
  // charged for the other kind of privacy. DATA_LOSS: the file is damaged.
  // Others: the disk's. Nothing may be sent then.
  absl::StatusOr<PrivacyCharge> Charge(const RunId& run, RoundId round,
                                       const ReleaseCost& cost);
  // Epsilon at the budget's delta; 0 before the first charge.
  absl::StatusOr<double> Spent();

  std::string path() const;

 private:
  struct Entry {
    ReleaseCost cost;
    uint64_t count = 0;
    std::string last_run;
    uint32_t last_round = 0;
  };
  absl::StatusOr<std::vector<Entry>> Read();
  absl::Status Write(const std::vector<Entry>& entries);
  double EpsilonOfAll(const std::vector<Entry>& entries);
  const std::vector<double>& RdpOfOne(const ReleaseCost& cost);

  FileStore& files_;
  const PrivacyBudget budget_;
  // At RdpOrders(); computed once per process, for it takes a while.
  std::vector<std::pair<ReleaseCost, std::vector<double>>> known_;
};

}  // namespace fedgraft
