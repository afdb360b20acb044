#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/round/mask_choice.h"
#include "aggregator/round/records.h"
#include "aggregator/round/secure_progress.h"
#include "common/base/ids.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/protocol/messages.h"

namespace fedgraft {

// Where the journal says that the run stands. What lies between two records
// (reducing, waiting for a deadline) is not a phase.
enum class Phase {
  kIdle,        // no run yet
  kEnrolling,   // RunOpened
  kSolving,     // RoundOpened, while the exact head is not solved
  kGathering,   // RoundOpened, before the first of training if the plan asks
  kTraining,    // RoundOpened
  kSketching,   // RoundOpened, while a look at shift has stages to go
  kEvaluating,  // RoundReduced, if this round's model is to be evaluated
  kPublished,   // RoundReduced or EvaluationClosed: the round is complete
  kClosed,      // RunClosed
};
absl::string_view PhaseName(Phase phase);

// A published trainable set.
struct ModelRef {
  Digest digest;
  uint64_t size_bytes = 0;
  std::shared_ptr<const Bytes> inline_bytes;  // null: in the blob store
  bool InBlobStore() const { return size_bytes > 0 && inline_bytes == nullptr; }
};

struct Contribution {
  UploadHeader header;
  uint64_t sequence = 0;                       // of its record
  std::shared_ptr<const Bytes> sealed_inline;  // null: in `spool_file`
  std::string spool_file;
};

// Null: none.
std::shared_ptr<const Bytes> ShareBytes(Bytes bytes);

// What the run goes on without: rounds of it are not counted by site.
bool IsDispensable(TaskKind kind);

// What was fixed when the run was opened.
struct RunFacts {
  RunId id;
  Plan plan;
  std::shared_ptr<const ParameterLayout> layout;
  Bytes wrapped_key;
  Bytes hpke_public_key;
  Bytes hpke_key_signature;
  bool rule_has_state = false;  // the plan's rule remembers something
  ModelRef initial_model;
  uint64_t backbone_size_bytes = 0;
  absl::Time opened;  // wall
};

class RunState;
// Blobs that only later rounds of the run would read: the rule's state, what
// was gathered and what a look has pooled.
std::vector<Digest> StatesOfRun(const RunState& state);

// The run as the journal tells it: the state is a pure function of the records
// applied, so that a restart, which applies them again, stands where the last
// process stood. Single-strand.
//
// Invariants (a record that would break one is refused by Apply): one
// contribution per phase and site; a round is reduced over exactly the
// contributions recorded for it, and never below the quorum.
class RunState {
 public:
  // DATA_LOSS, and no change, if the record cannot follow the ones before.
  // `sequence` is its position in the log.
  absl::Status Apply(JournalEntry entry, uint64_t sequence);

  Phase phase() const { return phase_; }
  bool open() const {
    return phase_ != Phase::kIdle && phase_ != Phase::kClosed;
  }
  bool paused() const { return paused_; }
  bool stopped() const { return stopped_; }
  // Why the run was stopped.
  const std::string& end_reason() const { return end_reason_; }
  // Null before the first run. The last run stays after it was closed.
  const RunFacts* run() const { return run_.get(); }
  std::shared_ptr<const RunFacts> shared_run() const { return run_; }
  RoundId round() const { return round_; }
  // The same without the rounds of looks at shift, which make no model.
  RoundId model_round() const { return RoundId{round_.value - look_rounds()}; }
  // What sites are asked in this phase; nullopt if nothing.
  std::optional<TaskKind> task_kind() const;
  const ModelRef& model() const { return model_; }  // newest published
  // What a task of this phase starts from: the solve point, or the model.
  const ModelRef& task_model() const {
    return phase_ == Phase::kSolving ? solve_.point : model_;
  }
  // The exact head's progress. `state` has no size before the first round.
  struct Solve {
    ModelRef point, state;
    SolveStage stage = SolveStage::kMoments;
    int candidates = 0;
    bool open = false;    // rounds solve, and do not train
    uint32_t rounds = 0;  // that it took, or has taken
  };
  const Solve& solve() const { return solve_; }
  // Sums taken before the first round of training (common/statistics).
  struct Statistics {
    ModelRef gathered;    // no size: nothing yet
    bool open = false;    // asked for and not gathered
    uint32_t rounds = 0;  // 1 once gathered
  };
  const Statistics& statistics() const { return statistics_; }
  // The newest look at shift (plan.shift): what its stages have pooled.
  struct Look {
    ModelRef pooled;         // no size: no stage yet
    bool open = false;       // rounds sketch, and do not train
    uint32_t rounds = 0;     // that sketching took, all looks together
    RoundId training_round;  // whose model is looked at
    // Of the newest complete look: what its last stage was asked with, and the
    // round of training.
    Digest compared;
    RoundId compared_round;
    // At some site anything has changed since.
    bool news = false;
  };
  const Look& look() const { return look_; }
  // What a site does about what it differs in, in this round of training
  // (plan.shift.on_shift apply), and what was chosen last for the next.
  SiteRemedy RemedyOf(const SiteId& site) const;
  const RemediesChosen& chosen() const { return chosen_; }
  // What sites told of their tests (common/shift/shift_tests.h), by the round
  // of training that was looked at.
  using Findings = std::map<SiteId, std::map<std::string, double>>;
  const std::map<RoundId, Findings>& findings() const { return findings_; }
  uint64_t findings_version() const { return findings_version_; }
  // What the rule remembers (aggregator/rules/rule_state.h). No size: nothing,
  // or no round of training yet.
  const ModelRef& rule_state() const { return rule_state_; }
  // Rounds of training up to now: what the plan's schedules count. In the final
  // evaluation of an early stop: those of the model that was chosen.
  RoundId training_round() const {
    if (final_) return best_->training_round;
    return RoundId{prepares() ? 0 : round_.value - preparing_rounds()};
  }
  // True if the evaluation under way, if any, is the run's last.
  bool IsFinalEvaluation() const {
    return final_ ||
           (run_->plan.stopping.patience == 0 && IsLastTraining(!solve_.open));
  }
  // True if the evaluation under way compares with local training.
  bool ComparesLocal() const;
  // Early stopping (plan.stopping): the best evaluated model so far, and
  // whether an evaluation with these metrics would replace it, or end the
  // training.
  struct Best {
    double score = 0;  // larger is better
    ModelRef model;
    RoundId training_round;
  };
  const std::optional<Best>& best() const { return best_; }
  bool Improves(const std::map<std::string, double>& metrics) const;
  bool Stops(const std::map<std::string, double>& metrics) const;
  // True if no round follows the current one.
  bool IsLastRound() const { return IsLastRound(!solve_.open, false); }
  // `solved`: the head is solved by this round at the latest. `news`: this
  // round's contributions tell of some.
  bool IsLastRound(bool solved, bool news) const;
  // True if no round of training follows the current one.
  bool IsLastTraining(bool solved) const;
  // Whether the model that ends the current round is to be evaluated.
  bool EvaluationDue(bool solved) const;
  const std::set<SiteId>& joined() const { return joined_; }
  // Sites that had joined when the round was opened, or opened again.
  const std::set<SiteId>& participants() const { return participants_; }
  // Of the current phase.
  const std::map<SiteId, Contribution>& contributions() const {
    return contributions_;
  }
  // Whether this run's updates are masked: by the plan, or, in mode auto, by
  // the sites that had joined when the first round was opened; nullopt before.
  // The plan of run() says the same.
  const std::optional<MaskChoice>& masks() const { return masks_; }
  // The roster that a site has pinned, as far as it has said.
  std::optional<Digest> PinnedRoster(const SiteId& site) const;
  // Secure aggregation of this phase; off if the plan has none.
  const SecureProgress& secure() const { return secure_; }
  // Who contributed to this phase, in canonical order.
  std::vector<SiteId> Survivors() const;
  // Whether the step of secure aggregation under way waits for this site.
  bool AwaitsSecurely(const SiteId& site) const;
  // The receipt of the site's newest contribution if it is `digest`.
  std::optional<UploadReceipt> FindReceipt(const SiteId& site,
                                           const UploadHeader& header) const;
  // True if the site contributed to the header's round and kind (now or
  // before); of masked updates: to its attempt.
  bool HasContributed(const SiteId& site, const UploadHeader& header) const;
  const std::vector<RoundRecord>& history() const { return history_; }
  uint32_t RoundsContributed(const SiteId& site) const;
  // The newest round of training that counted an update of the site; 0: none.
  RoundId CountedRound(const SiteId& site) const;
  // Sites of which some round of training counted an update, and, with
  // `with_contributions`, those that contributed to this phase.
  int CountedSites(bool with_contributions) const;
  const std::map<std::string, double>& Scalars(const SiteId& site) const;

 private:
  // Whether the model that the current round makes is to be looked at.
  bool LookDue(bool solved) const;
  // Whether such a look is of use: not if all it is made of is as before.
  bool LookTells(bool news) const;
  // A look is under way, or will follow.
  bool LookFollows(bool solved, bool news) const {
    return look_.open || (LookDue(solved) && LookTells(news));
  }
  // Whether training has yet to begin.
  bool prepares() const { return solve_.open || statistics_.open; }
  uint32_t preparing_rounds() const {
    return solve_.rounds + statistics_.rounds + look_rounds();
  }
  uint32_t look_rounds() const {
    return look_.rounds + (phase_ == Phase::kSketching ? 1 : 0);
  }
  struct Receipt {
    RoundId round;
    uint32_t secure_attempt = 0;
    UploadReceipt receipt;
  };
  struct SiteFacts {
    std::map<TaskKind, Receipt> receipts;  // newest per kind
    uint32_t rounds_contributed = 0;
    RoundId counted_round;
    std::map<std::string, double> scalars;
    std::optional<Digest> roster;  // that it has pinned
  };

  absl::Status On(RunOpened record, absl::Time time, uint64_t sequence);
  absl::Status On(SiteJoined record, absl::Time, uint64_t sequence);
  absl::Status On(RoundOpened record, absl::Time, uint64_t sequence);
  absl::Status On(ContributionAccepted record, absl::Time, uint64_t sequence);
  absl::Status On(RoundReduced record, absl::Time, uint64_t sequence);
  absl::Status On(EvaluationClosed record, absl::Time, uint64_t sequence);
  absl::Status On(RunClosed record, absl::Time, uint64_t sequence);
  absl::Status On(RunPaused record, absl::Time, uint64_t sequence);
  absl::Status On(SiteReported record, absl::Time, uint64_t sequence);
  absl::Status On(SketchClosed record, absl::Time, uint64_t sequence);
  absl::Status On(RemediesChosen record, absl::Time, uint64_t sequence);
  absl::Status On(SecureAnswered record, absl::Time, uint64_t sequence);
  absl::Status On(SecureAdvanced record, absl::Time, uint64_t sequence);
  // Whether a masked sum of this phase may be made now.
  absl::Status CheckUnmasked() const;
  // Begins the first, or the next, attempt at this phase's sum.
  void BeginSecure(uint32_t attempt);
  // What mode auto comes to.
  void ChooseRunMasks();
  void TakeSolve(SolveAdvanced solve);
  // Opens the look that is due at the newest round's model, or leaves it out.
  void BeginLook(RoundId training_round);
  void NoteComparison();
  // The look before still stands, for the records that it saw.
  void CarryFindings();
  // Of a report of that round: the training whose model the site evaluated.
  RoundId EvaluatedRound(RoundId reported) const;
  void AddFinding(RoundId round, const SiteId& site, const std::string& name,
                  double value);
  // OK if a round of this kind brings what it brings.
  absl::Status CheckAdvances(const RoundReduced& record) const;
  void OpenNext();
  absl::Status CheckOpensNext(bool opens_next, bool evaluation_due, bool solved,
                              bool news) const;
  // OK if `sites` are those that contributed, in canonical order.
  absl::Status CheckSites(const std::vector<SiteId>& sites) const;

  Phase phase_ = Phase::kIdle;
  bool paused_ = false;
  bool stopped_ = false;
  std::string end_reason_;
  std::shared_ptr<const RunFacts> run_;
  RoundId round_;
  ModelRef model_;
  Solve solve_;
  Statistics statistics_;
  Look look_;
  RemediesChosen chosen_;                  // for the next round of training
  std::map<SiteId, SiteRemedy> remedies_;  // of this one
  // The newest evaluations that compared with local training: their rounds,
  // and how many rounds of training the model had.
  std::map<RoundId, RoundId> comparisons_;
  std::map<RoundId, Findings> findings_;
  uint64_t findings_version_ = 0;
  ModelRef rule_state_;
  std::optional<MaskChoice> masks_;
  SecureProgress secure_;
  std::optional<Best> best_;
  int without_improvement_ = 0;  // evaluations
  bool final_ = false;           // the chosen model is being evaluated, or was
  std::set<SiteId> joined_;
  std::set<SiteId> participants_;
  std::map<SiteId, Contribution> contributions_;
  std::map<SiteId, SiteFacts> sites_;
  std::vector<RoundRecord> history_;
};

}  // namespace fedgraft
