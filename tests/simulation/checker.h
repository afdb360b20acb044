#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aggregator/round/coordinator.h"
#include "aggregator/round/records.h"
#include "aggregator/round/run_state.h"
#include "common/model/parameter_layout.h"
#include "common/secagg/messages.h"
#include "common/solve/head_solver.h"
#include "tests/simulation/reference_rule.h"
#include "tests/simulation/sim_server.h"
#include "tests/support/sim_file_store.h"

namespace fedgraft::testing {

// Watches the coordinator's invariants (aggregator/round/coordinator.h) from
// outside: what it says to sites, what it shows, and what its log holds. The
// first violation is kept in failure().
class Checker : public ServerObserver {
 public:
  // `seed`: of the sites' training, which the checker repeats.
  Checker(uint64_t seed, ParameterLayout layout, SimFileStore* files)
      : seed_(seed), layout_(std::move(layout)), files_(*files) {}

  void Acknowledged(const SiteId& site, const UploadHeader& header,
                    const UploadReceipt& receipt) override;
  void Asked(const SiteId& site, const Task& task) override;
  // A site's answer to a step of secure aggregation has left it.
  void Said(const SiteId& site, const SecureAnswer& answer);
  // After each event in which the coordinator changed visibly.
  void Look(const Coordinator& coordinator);
  // After each start of the aggregator: its state is the replay of its log,
  // and nothing acknowledged is missing.
  void LookAtRestart(const Coordinator& coordinator);

  // Anything else that must not happen.
  void Fail(const std::string& what);

  bool ok() const { return failure_.empty(); }
  const std::string& failure() const { return failure_; }
  uint64_t acknowledged() const { return acknowledged_.size(); }
  // Masked sums that were begun again.
  uint64_t abandoned() const { return abandoned_; }
  // Final bytes of the newest model that was checked.
  const Digest& model() const { return model_; }

 private:
  // run, round, kind, site, attempt of secure aggregation
  using Key = std::tuple<std::string, uint32_t, int, std::string, uint32_t>;

  static Key KeyOf(const SiteId& site, const UploadHeader& header);
  // Reads the log from disk, as it is now.
  bool ReadRecords(std::vector<Record>& records);
  void CheckRecords(const std::vector<Record>& records);
  // Sites were told which round counted them last.
  void CheckTold();
  // What the log tells of secure aggregation, record by record.
  struct SecureWatch {
    SecureStep step = SecureStep::kNone;
    size_t advertised = 0;  // sites, in this attempt
    size_t released = 0;    // sites, in this attempt
  };
  bool IsMasked(const RunId& run) const;
  void CheckSecure(const Record& record, SecureWatch& watch);
  // A sum over `sites` was unmasked.
  void CheckUnmasked(const std::vector<SiteId>& sites,
                     const SecureWatch& watch);
  // Invariant 1, from the sites' training instead of their bytes.
  void CheckPublished(const RoundReduced& reduced, const Bytes& model);
  ParameterVector NextModel(const RoundReduced& reduced);
  // fed_nova: what a site sends of its training.
  void PerStep(const SiteId& site, ParameterVector& delta,
               WeightedUpdate& update) const;
  // The journalled state is the reference's, which takes over its bytes.
  void CheckRuleState(const RoundReduced& reduced);
  // The solver's step over the sites' records, repeated: its bytes must be the
  // journalled ones.
  void CheckSolved(const RoundReduced& reduced);
  // The gathered words and what they were taken at, from the sites' sums.
  void CheckGathered(const RoundReduced& reduced);
  // What a look has come to, from the sites' records.
  void CheckSketched(const SketchClosed& closed);
  // The newest checked model with the solver's head.
  ParameterVector WithHead() const;
  Bytes ModelBytes(const Digest& digest, const Bytes& inline_bytes);

  const uint64_t seed_;
  const ParameterLayout layout_;
  SimFileStore& files_;
  std::string failure_;
  std::map<Key, UploadReceipt> acknowledged_;
  uint64_t abandoned_ = 0;
  // Of whom which kind of share has left any site, by session.
  std::map<Key, ShareKind> released_;
  std::string run_;
  std::optional<Plan> plan_;
  std::map<std::string, bool> masked_;  // by run: its first task
  size_t checked_rounds_ = 0;
  bool is_newest_ = false;             // the round being checked
  Digest model_;                       // newest checked
  std::set<Digest> models_;            // all that were checked
  ParameterVector values_;             // the newest's values
  std::optional<SolverState> solver_;  // after the newest checked solve round
  uint32_t preparing_rounds_ = 0;      // that solved or gathered
  Bytes look_;                         // what its stages have come to
  Digest compared_;                    // of the newest complete look
  bool has_news_ = false;              // of some site since
  size_t checked_sketches_ = 0;
  Digest gathered_;                      // of the statistics, once there
  std::map<std::string, Digest> given_;  // with train tasks, by run
  // Rounds of training, as far as they were checked, that counted a site.
  std::map<SiteId, std::set<RoundId>> counted_;
  // Training tasks since the log was looked at last.
  std::vector<std::pair<SiteId, Task>> told_;
  std::optional<ReferenceRule> rule_;  // after the newest checked round
  std::vector<RoundRecord> published_;
};

}  // namespace fedgraft::testing
