#include "aggregator/round/round_flow.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/logging.h"

namespace fedgraft {
namespace {

std::vector<SiteId> SitesOf(const std::map<SiteId, Contribution>& all) {
  std::vector<SiteId> sites;
  for (const auto& [site, contribution] : all) sites.push_back(site);
  return sites;
}

// What the run goes on without.
bool IsDispensable(TaskKind kind) {
  return kind == TaskKind::kEvaluate || kind == TaskKind::kSketch;
}

// An honest site whose images differ can look like a hostile one to a robust
// rule: its operator should hear of it.
void LogInfluence(const RunState& state,
                  const std::map<SiteId, double>& influence) {
  std::vector<std::string> unused;
  for (const auto& [site, share] : influence) {
    if (!(share > 0)) unused.push_back(site.value);
  }
  if (unused.empty()) return;
  FG_LOG_INFO("run {} round {}: rule {} used nothing of the updates of {}",
              state.run()->id.value, state.round().value,
              state.run()->plan.rule.kind, absl::StrJoin(unused, ", "));
}

}  // namespace

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

std::shared_ptr<const PhaseJob> RoundFlow::MakeJob() const {
  const RunState& state = context_.state;
  auto job = std::make_shared<PhaseJob>();
  job->run = state.shared_run();
  job->round = state.round();
  job->key = context_.tools.key;
  job->form = context_.tools.form(*state.task_kind());
  job->base = state.model();
  job->solver_state = state.solve().state;
  job->rule_state = state.rule_state();
  const int expected = job->run->plan.expected_sites;
  job->sites = {std::max(expected, state.CountedSites(false)),
                std::max(expected, state.CountedSites(true))};
  job->contributions = state.contributions();
  job->openers = context_.openers;
  job->sum = context_.sum;
  job->masks = context_.masks;
  job->inline_bytes_max = context_.options.inline_bytes_max;
  job->blobs = context_.blobs;
  return job;
}

std::shared_ptr<const Look> RoundFlow::FindLook() {
  const RunState& state = context_.state;
  if (state.phase() != Phase::kSketching) return nullptr;
  const ModelRef& pooled = state.look().pooled;
  if (look_.second == nullptr || look_.first != pooled.digest) {
    // A first stage, or this process did not pool the one before.
    absl::StatusOr<Look> look =
        LoadLook(*state.run(), pooled, context_.ports.files);
    if (!look.ok()) {
      FG_LOG_ERROR("run {} round {}: {}", state.run()->id.value,
                   state.round().value, look.status().ToString());
      return nullptr;
    }
    look_ = {pooled.digest, std::make_shared<const Look>(*std::move(look))};
  }
  return look_.second;
}

void RoundFlow::PoolSketch() {
  const RunState& state = context_.state;
  if (state.contributions().size() <
      static_cast<size_t>(state.run()->plan.quorum)) {
    return CloseSketch(absl::UnavailableError(
        absl::StrCat(state.contributions().size(), " of at least ",
                     state.run()->plan.quorum, " sites at the deadline")));
  }
  busy_ = true;
  context_.off_strand.Run<absl::StatusOr<NewSketch>>(
      [job = MakeJob(), &files = context_.ports.files] {
        return AdvanceSketch(*job, files);
      },
      [this](absl::StatusOr<NewSketch> sketch) {
        CloseSketch(std::move(sketch));
      });
}

void RoundFlow::CloseSketch(absl::StatusOr<NewSketch> sketch) {
  if (closer_.requested()) return Idle();
  const RunState& state = context_.state;
  SketchClosed closed;
  closed.round = state.round();
  closed.sites = SitesOf(state.contributions());
  if (sketch.ok()) {
    closed.pooled = sketch->digest;
    closed.pooled_size_bytes = sketch->size_bytes;
    closed.pooled_inline = std::move(sketch->inline_bytes);
    closed.open = !sketch->look->done();
    if (!closed.open) closed.metrics = sketch->look->Verdicts();
    look_ = {closed.pooled, std::move(sketch->look)};
  } else {
    // The run goes on without this look.
    FG_LOG_WARNING("run {} round {}: no look at shift: {}",
                   state.run()->id.value, state.round().value,
                   std::string(sketch.status().message()));
  }
  FG_LOG_INFO("run {} round {}: sketches of {} sites", state.run()->id.value,
              state.round().value, closed.sites.size());
  closed.opens_next =
      !state.paused() && (closed.open || !state.IsLastTraining(true));
  Obsolete obsolete = MakeObsolete();
  const ModelRef& before = state.look().pooled;
  if (before.InBlobStore() && before.digest != closed.pooled) {
    obsolete.blobs.push_back(before.digest);
  }
  Journal(std::move(closed), std::move(obsolete));
}

void RoundFlow::Reduce() {
  FG_CHECK(context_.state.contributions().size() >=
           static_cast<size_t>(context_.state.run()->plan.quorum));
  busy_ = context_.reducing = true;
  context_.off_strand.Begin<absl::StatusOr<NewModel>>(
      [job = MakeJob(), &files = context_.ports.files,
       &executor = context_.ports.executor](auto done) {
        if (job->form.kind == TaskKind::kSolve) {
          done(AdvanceSolve(*job, files));
        } else if (job->form.kind == TaskKind::kGather) {
          done(GatherStatistics(*job, files));
        } else {
          ReduceRound(job, files, executor, std::move(done));
        }
      },
      [this](absl::StatusOr<NewModel> model) { Publish(std::move(model)); });
  context_.changed();
}

void RoundFlow::Publish(absl::StatusOr<NewModel> model) {
  if (closer_.requested()) return Idle();  // stopped meanwhile
  if (!model.ok() && context_.masks != nullptr &&
      absl::IsInvalidArgument(model.status())) {
    // The same sum gives the same again; which site spoilt it cannot be seen.
    return ReopenSecure(model.status().message());
  }
  if (!model.ok()) return RetryLater(model.status());
  const RunState& state = context_.state;
  RoundReduced reduced;
  reduced.round = state.round();
  reduced.sites = SitesOf(state.contributions());
  reduced.model = model->digest;
  reduced.model_size_bytes = model->size_bytes;
  reduced.model_inline = std::move(model->inline_bytes);
  reduced.saturated = model->saturated;
  reduced.bytes_down = std::exchange(context_.bytes_down, 0);
  // As the journal keeps it, so that a replay gives the same.
  reduced.elapsed = absl::Trunc(
      context_.ports.clock.Monotonic() - round_opened_, absl::Microseconds(1));
  FG_LOG_INFO("run {} round {}: model {} from {} sites, {} bytes",
              state.run()->id.value, state.round().value, reduced.model.Short(),
              reduced.sites.size(), reduced.model_size_bytes);
  Obsolete obsolete = MakeObsolete();
  const ModelRef& base = state.model();
  const bool is_best =
      state.best().has_value() && state.best()->model.digest == base.digest;
  if (base.digest != reduced.model && !is_best) DropModel(base, obsolete);
  reduced.solve = std::move(model->solve);
  reduced.statistics = std::move(model->statistics);
  reduced.metrics = std::move(model->metrics);
  reduced.rule = std::move(model->rule);
  reduced.influence = std::move(model->influence);
  LogInfluence(state, reduced.influence);
  const bool solved = !state.solve().open || reduced.solve->solved;
  if (state.solve().open) {
    for (const ModelRef* old : {&state.solve().state, &state.solve().point}) {
      if (old->size_bytes > 0 && old->inline_bytes == nullptr) {
        obsolete.blobs.push_back(old->digest);
      }
    }
  }
  const ModelRef& rule_state = state.rule_state();
  if (reduced.rule.has_value() && rule_state.InBlobStore() &&
      rule_state.digest != reduced.rule->state) {
    obsolete.blobs.push_back(rule_state.digest);
  }
  reduced.news = model->news;
  const bool news = reduced.news > 0;
  reduced.opens_next = !state.EvaluationDue(solved) && OpensNext(solved, news);
  obsolete.more_follow = !state.IsLastRound(solved, news);
  Journal(std::move(reduced), std::move(obsolete));
}

bool RoundFlow::OpensNext(bool solved, bool news) const {
  const RunState& state = context_.state;
  return !state.paused() && !state.IsLastRound(solved, news);
}

RoundFlow::Obsolete RoundFlow::MakeObsolete() const {
  Obsolete obsolete;
  for (const auto& [site, contribution] : context_.state.contributions()) {
    if (contribution.sealed_inline == nullptr) {
      obsolete.spool_files.push_back(contribution.spool_file);
    }
  }
  return obsolete;
}

void RoundFlow::DropModel(const ModelRef& model, Obsolete& obsolete) const {
  if (model.inline_bytes == nullptr &&
      model.digest != context_.state.run()->initial_model.digest) {
    obsolete.blobs.push_back(model.digest);
  }
}

void RoundFlow::PoolMetrics() {
  busy_ = true;
  context_.off_strand.Run<absl::StatusOr<std::map<std::string, double>>>(
      [job = MakeJob(), &files = context_.ports.files] {
        return PoolEvaluation(*job, files);
      },
      [this](absl::StatusOr<std::map<std::string, double>> metrics) {
        CloseEvaluation(std::move(metrics));
      });
}

void RoundFlow::CloseEvaluation(
    absl::StatusOr<std::map<std::string, double>> metrics) {
  if (closer_.requested()) return Idle();
  const RunState& state = context_.state;
  EvaluationClosed closed;
  closed.round = state.round();
  closed.sites = SitesOf(state.contributions());
  if (metrics.ok()) {
    closed.metrics = *std::move(metrics);
  } else {
    // The model stands without them.
    FG_LOG_WARNING("run {} round {}: no pooled metrics: {}",
                   state.run()->id.value, state.round().value,
                   std::string(metrics.status().message()));
  }
  FG_LOG_INFO("run {} round {}: evaluated at {} sites", state.run()->id.value,
              state.round().value, closed.sites.size());
  const bool stops = state.Stops(closed.metrics);
  closed.opens_next = !stops && OpensNext(!state.solve().open, /*news=*/false);
  Obsolete obsolete = MakeObsolete();
  const bool has_other = state.best().has_value() &&
                         state.best()->model.digest != state.model().digest;
  if (has_other && state.Improves(closed.metrics)) {
    DropModel(state.best()->model, obsolete);
  } else if (has_other && stops) {
    DropModel(state.model(), obsolete);
  }
  Journal(std::move(closed), std::move(obsolete));
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

void RoundFlow::Remove(Obsolete obsolete) {
  if (obsolete.spool_files.empty() && obsolete.blobs.empty()) return;
  context_.ports.executor.Run([obsolete = std::move(obsolete),
                               spool = context_.spool, blobs = context_.blobs] {
    // A file that stays costs space until the next restart looks.
    for (const std::string& file : obsolete.spool_files) {
      const absl::Status removed =
          obsolete.more_follow ? spool->Recycle(file) : spool->Remove(file);
      if (!removed.ok()) {
        FG_LOG_WARNING("spool file {} stays: {}", file,
                       std::string(removed.message()));
      }
    }
    for (const Digest& blob : obsolete.blobs) {
      const absl::Status removed =
          obsolete.more_follow ? blobs->Recycle(blob) : blobs->Remove(blob);
      if (!removed.ok()) {
        FG_LOG_WARNING("blob {} stays: {}", blob.Short(),
                       std::string(removed.message()));
      }
    }
  });
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
