#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_join.h"
#include "aggregator/round/round_flow.h"
#include "common/base/check.h"
#include "common/base/logging.h"

namespace fedgraft {
namespace {

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
  reduced.sites = state.Survivors();
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
  closed.sites = state.Survivors();
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

}  // namespace fedgraft
