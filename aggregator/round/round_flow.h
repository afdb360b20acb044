#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "aggregator/round/round_context.h"
#include "aggregator/round/round_reducer.h"
#include "aggregator/round/run_closer.h"
#include "common/runtime/scheduler.h"
#include "common/shift/look.h"

namespace fedgraft {

// Moves the run from phase to phase: opens rounds, decides when one has enough,
// reduces, publishes, evaluates, ends the run. Timers only make it look again;
// without them, whatever an event completes is acted upon at once.
//
//   enrolling ──expected joined, or deadline and quorum──▶ solving,
//   gathering or training
//   r solving, gathering, training ──all awaited contributed, or deadline;
//   never below quorum──▶
//     reduce off the strand ──▶ RoundReduced ──▶ evaluating r or published
//   evaluating ──all awaited contributed, or deadline──▶ published
//   published ──▶ sketching r + 1, while a look at shift is under way
//   sketching r ──all awaited contributed, or deadline──▶ published
//   published ──▶ training r + 1, or RunClosed after the last round
//
// Where the plan asks for secure aggregation, solving, training and evaluating
// are steps (common/secagg/session.h), each with the deadline of a round. A sum
// that cannot be unmasked is abandoned and begun again with fresh keys; an
// evaluation or a look at shift then does without.
//
// A deadline that finds too few is extended, and the round takes in whoever has
// joined since it was opened. Single-strand; part of the Coordinator.
class RoundFlow {
 public:
  // After a failed publication (disk full) the reduce is tried again then.
  static constexpr absl::Duration kRetryDelay = absl::Seconds(10);
  // At one sum; each waits for a deadline. What sites refuse so often they
  // would refuse for ever; who is only missing gets longer to come back.
  static constexpr uint32_t kSecureAttemptsMax = 100;
  static constexpr uint32_t kRefusedAttemptsMax = 10;

  // `context` outlives the flow. `phase_began`: called after each phase change.
  RoundFlow(RoundContext& context, std::function<void()> phase_began)
      : context_(context),
        phase_began_(std::move(phase_began)),
        closer_(context, [this](const absl::Status& s) { Ended(s); }) {}
  ~RoundFlow();
  RoundFlow(const RoundFlow&) = delete;
  RoundFlow& operator=(const RoundFlow&) = delete;

  // Looks whether the phase can move on, and does so. Cheap; called after
  // every event that may matter.
  void Consider();
  // The state came from somewhere else than this flow (replay, a run opened,
  // stopped, paused or resumed): timers start anew.
  void Restart();
  // Ends the run once nothing of this flow is under way and the newest
  // published model is in the blob store. No effect but on `done` if it is
  // ending already.
  void Close(bool stopped, std::string reason,
             std::function<void(absl::Status)> done);

 private:
  // On disk, but of no use once a record is applied.
  struct Obsolete {
    std::vector<std::string> spool_files;
    bool more_follow = false;  // files like these
    std::vector<Digest> blobs;
  };

  void ArmDeadline();
  void DeadlinePassed();
  void Extend();
  void CheckProgress();
  void CancelPhaseTimers();

  void ConsiderEnrolment();
  void ConsiderPhase();
  // Secure aggregation (round_flow_secure.cc): the step under way.
  void ConsiderSecure();
  void EndSecureStep();
  // After too many attempts the run ends instead.
  void ReopenSecure(absl::string_view why);
  // What sites said against it, for people; whether one did in this step.
  std::string Refusals() const;
  bool IsRefused() const;
  // Says, once a run, whether its updates are masked.
  void TellMasks();
  // Makes the masks that are in the sum. False: shares do not fit.
  bool MakeMasks();
  // Awaited sites that have not contributed yet.
  size_t CountAwaited() const;
  void OpenRound();
  // Sums, and the records that end their rounds (round_flow_reduce.cc).
  void Reduce();
  void Publish(absl::StatusOr<NewModel> model);
  void PoolMetrics();
  // Looks at shift (round_flow_look.cc). Where the look stands; null without
  // one, or if what was pooled cannot be read: the stage then ends without
  // result at its deadline.
  std::shared_ptr<const Look> FindLook();
  void PoolSketch();
  void CloseSketch(absl::StatusOr<NewSketch> sketch);
  void CloseEvaluation(absl::StatusOr<std::map<std::string, double>> metrics);
  void Ended(const absl::Status& status);

  std::shared_ptr<const PhaseJob> MakeJob() const;
  // Whether the next round opens with the record that ends the current one.
  bool OpensNext(bool solved, bool news) const;
  Obsolete MakeObsolete() const;
  void DropModel(const ModelRef& model, Obsolete& obsolete) const;
  void Journal(Record record, Obsolete obsolete);
  // The end of work that kept the flow busy; begins what waited for it.
  void Idle();
  void RetryLater(const absl::Status& status);
  void Remove(Obsolete obsolete);

  RoundContext& context_;
  std::function<void()> phase_began_;
  RunCloser closer_;
  // A record or a reduce of this flow is under way: nothing else is begun.
  bool busy_ = false;
  bool deadline_passed_ = false;
  // What of `pooled` of the state's look FindLook made.
  std::pair<Digest, std::shared_ptr<const Look>> look_;
  RunId told_masks_;     // the run whose masks were told of
  RoundId timed_round_;  // the one that round_opened_ is of
  absl::Time round_opened_;
  TimerId deadline_ = 0, progress_ = 0, retry_ = 0;
};

}  // namespace fedgraft
