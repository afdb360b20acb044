#include "aggregator/round/round_flow.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/logging.h"

namespace fedgraft {

RoundFlow::~RoundFlow() {
  CancelPhaseTimers();
  if (retry_ != 0) context_.ports.strand.Cancel(retry_);
}

void RoundFlow::CancelPhaseTimers() {
  for (TimerId* timer : {&deadline_, &progress_}) {
    if (*timer != 0) context_.ports.strand.Cancel(std::exchange(*timer, 0));
  }
}

void RoundFlow::Restart() {
  CancelPhaseTimers();
  deadline_passed_ = false;
  // Paused or resumed while a sum or a record is under way: it still takes no
  // further contribution.
  context_.closing = busy_;
  if (!busy_) {
    context_.openers.clear();
    context_.sum = nullptr;
    context_.masks = nullptr;
  }
  context_.sites.BeginPhase();
  const RunState& state = context_.state;
  if (state.phase() == Phase::kEnrolling) timed_round_ = RoundId();
  if (state.round() != timed_round_ && state.task_kind().has_value() &&
      state.task_kind() != TaskKind::kEvaluate) {
    timed_round_ = state.round();
    round_opened_ = context_.ports.clock.Monotonic();
  }
  TellMasks();
  context_.tools.solve = MakeSolveForm(state);
  context_.tools.sketch = MakeSketchForm(state, FindLook());
  if (state.open() && !state.paused()) {
    ArmDeadline();
    if (state.task_kind().has_value()) CheckProgress();
  }
  phase_began_();
  Consider();
}

void RoundFlow::ArmDeadline() {
  const Plan& plan = context_.state.run()->plan;
  const absl::Duration deadline = context_.state.phase() == Phase::kEnrolling
                                      ? plan.enrol_deadline
                                      : plan.round_deadline;
  deadline_ =
      context_.ports.strand.After(deadline, [this] { DeadlinePassed(); });
}

void RoundFlow::DeadlinePassed() {
  deadline_ = 0;
  deadline_passed_ = true;
  Consider();
}

void RoundFlow::Extend() {
  const RunState& state = context_.state;
  FG_LOG_WARNING(
      "run {}: {} of round {} at its deadline with {} of quorum {}; "
      "extended",
      state.run()->id.value, std::string(PhaseName(state.phase())),
      state.round().value,
      state.phase() == Phase::kEnrolling ? state.joined().size()
                                         : state.contributions().size(),
      state.run()->plan.quorum);
  deadline_passed_ = false;
  ArmDeadline();
  if (!state.task_kind().has_value()) return;
  if (state.task_kind() != TaskKind::kEvaluate &&
      state.joined().size() > state.participants().size()) {
    // Late joiners may be the ones that the quorum lacks.
    return Journal(RoundOpened{state.round()}, {});
  }
  // Sites refused too often get another chance.
  context_.sites.BeginPhase();
  phase_began_();
}

void RoundFlow::CheckProgress() {
  progress_ = 0;
  const RunState& state = context_.state;
  std::set<SiteId> awaited;
  for (const SiteId& site : state.participants()) {
    if (context_.IsAwaited(site) && !context_.admitting.contains(site)) {
      awaited.insert(site);
    }
  }
  absl::Time next;
  const std::set<SiteId> silent = context_.sites.SilenceStale(
      awaited, state.run()->plan.progress_timeout, &next);
  for (const SiteId& site : silent) {
    FG_LOG_WARNING(
        "round {}: site {} made no progress for {}; it leaves the "
        "round until it calls again",
        state.round().value, site.value,
        absl::FormatDuration(state.run()->plan.progress_timeout));
  }
  // Without anyone to watch, look again after a whole time-out: sites return.
  const absl::Duration wait = std::min(next - context_.ports.clock.Monotonic(),
                                       state.run()->plan.progress_timeout);
  progress_ = context_.ports.strand.After(wait, [this] { CheckProgress(); });
  if (!silent.empty()) {
    Consider();
    context_.changed();
  }
}

void RoundFlow::Consider() {
  const RunState& state = context_.state;
  if (busy_ || context_.RunChanging() || !state.open() || state.paused() ||
      !context_.journal->failure().ok()) {
    return;
  }
  switch (state.phase()) {
    case Phase::kEnrolling:
      return ConsiderEnrolment();
    case Phase::kSolving:
    case Phase::kGathering:
    case Phase::kSketching:
    case Phase::kTraining:
    case Phase::kEvaluating:
      return ConsiderPhase();
    case Phase::kPublished:
      if (state.IsLastRound()) return Close(/*stopped=*/false, "", nullptr);
      return OpenRound();
    case Phase::kIdle:
    case Phase::kClosed:
      return;
  }
}

void RoundFlow::ConsiderEnrolment() {
  const Plan& plan = context_.state.run()->plan;
  const int joined = static_cast<int>(context_.state.joined().size());
  if (joined >= plan.expected_sites ||
      (deadline_passed_ && joined >= plan.quorum)) {
    OpenRound();
  } else if (deadline_passed_) {
    Extend();
  }
}

size_t RoundFlow::CountAwaited() const {
  const auto& sites = context_.state.participants();
  return static_cast<size_t>(std::count_if(
      sites.begin(), sites.end(),
      [this](const SiteId& site) { return context_.IsAwaited(site); }));
}

void RoundFlow::ConsiderPhase() {
  const RunState& state = context_.state;
  if (state.secure().is_on()) return ConsiderSecure();
  const TaskKind kind = *state.task_kind();
  const size_t have = state.contributions().size();
  if (!context_.closing) {
    const size_t quorum = kind == TaskKind::kEvaluate
                              ? 1
                              : static_cast<size_t>(state.run()->plan.quorum);
    const size_t most =
        static_cast<size_t>(context_.tools.form(kind).max_terms);
    const bool complete = CountAwaited() == 0 || have >= most;
    if (have >= quorum && (complete || deadline_passed_)) {
      context_.closing = true;
    } else if ((deadline_passed_ && IsDispensable(kind)) ||
               (complete && kind == TaskKind::kSketch)) {
      // Nobody is left who could make a look complete.
      context_.closing = true;
    } else if (deadline_passed_) {
      return Extend();
    } else {
      return;
    }
  }
  // What was complete at the site by now still counts.
  if (!context_.admitting.empty()) return;
  if (kind == TaskKind::kEvaluate) return PoolMetrics();
  if (kind == TaskKind::kSketch) return PoolSketch();
  Reduce();
}

void RoundFlow::OpenRound() {
  Journal(RoundOpened{RoundId{context_.state.round().value + 1}}, {});
}

bool RoundFlow::OpensNext(bool solved, bool news) const {
  const RunState& state = context_.state;
  return !state.paused() && !state.IsLastRound(solved, news);
}

void RoundFlow::Journal(Record record, Obsolete obsolete) {
  busy_ = true;
  context_.journal->Append(std::move(record),
                           [this, obsolete = std::move(obsolete)](
                               absl::StatusOr<uint64_t> sequence) {
                             if (sequence.ok()) Remove(obsolete);
                             Idle();
                             if (sequence.ok()) Restart();
                             context_.changed();
                           });
}

void RoundFlow::Idle() {
  busy_ = closer_.requested();
  context_.reducing = context_.cannot_publish = false;
  if (busy_) closer_.Begin();
}

void RoundFlow::RetryLater(const absl::Status& status) {
  context_.cannot_publish = true;
  FG_LOG_ERROR("run {} round {}: cannot publish, trying again in {}: {}",
               context_.state.run()->id.value, context_.state.round().value,
               absl::FormatDuration(kRetryDelay),
               std::string(status.message()));
  retry_ = context_.ports.strand.After(kRetryDelay, [this] {
    retry_ = 0;
    Idle();
    Consider();
  });
  context_.changed();
}

void RoundFlow::Close(bool stopped, std::string reason,
                      std::function<void(absl::Status)> done) {
  if (!closer_.Request(stopped, std::move(reason), std::move(done))) return;
  context_.run_ending = true;
  if (retry_ != 0) {
    context_.ports.strand.Cancel(std::exchange(retry_, 0));
    busy_ = false;
  }
  if (!busy_) Idle();
}

void RoundFlow::Ended(const absl::Status& status) {
  context_.run_ending = false;
  Idle();
  if (status.ok()) Restart();
  context_.changed();
}

}  // namespace fedgraft
