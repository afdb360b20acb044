#include "aggregator/round/task_desk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/shift/remedy_choice.h"
#include "common/base/logging.h"
#include "common/config/plan.h"
#include "common/protocol/roster_capability.h"
#include "common/shift/remedies.h"

namespace fedgraft {
namespace {

// Every report becomes a log record, so a site may not send them without end.
constexpr int kReportsPerPhaseMax = 32;

std::string SplitName(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kVal:
      return "val";
    case Split::kTest:
      return "test";
  }
  return "";
}

// True if every scalar of the report is what the journal holds already.
bool IsKnown(const std::map<std::string, double>& known,
             const std::map<std::string, double>& reported) {
  return std::all_of(reported.begin(), reported.end(), [&](const auto& entry) {
    const auto found = known.find(entry.first);
    return found != known.end() && found->second == entry.second;
  });
}

}  // namespace

JoinReply TaskDesk::DescribeRun() const {
  JoinReply reply;
  reply.federation = context_.options.federation;
  if (!context_.state.open() || context_.RunChanging()) return reply;
  const RunFacts& run = *context_.state.run();
  RunDescriptor descriptor;
  descriptor.run = run.id;
  descriptor.plan = run.plan.bytes;
  descriptor.plan_hash = run.plan.hash;
  descriptor.backbone_size_bytes = run.backbone_size_bytes;
  descriptor.initial_model = run.initial_model.digest;
  descriptor.hpke_public_key = run.hpke_public_key;
  descriptor.hpke_key_signature = run.hpke_key_signature;
  descriptor.aggregator_certificate_pem = context_.keys.certificate_pem;
  descriptor.takes_chacha20_poly1305 = true;
  reply.run = std::move(descriptor);
  return reply;
}

void TaskDesk::Join(const SitePeer& site, const JoinRequest& request,
                    Reply<JoinReply> reply) {
  context_.sites.Heard(site.id);
  if (request.protocol_version != kProtocolVersion) {
    reply(context_.Refused(
        site.id, RefusalError(RefusalReason::kProtocolVersion,
                              absl::StrCat("protocol version: expected ",
                                           kProtocolVersion, ", got ",
                                           request.protocol_version))));
    return;
  }
  JoinReply answer = DescribeRun();
  const std::optional<Digest> roster = FindRoster(request.capabilities);
  const bool is_known = context_.state.joined().contains(site.id) &&
                        context_.state.PinnedRoster(site.id) == roster;
  if (!answer.run.has_value() || is_known) {
    reply(std::move(answer));
    context_.changed();
    return;
  }
  context_.journal->Append(
      SiteJoined{site.id, roster},
      [this, id = site.id, answer = std::move(answer),
       reply = std::move(reply)](absl::StatusOr<uint64_t> sequence) {
        if (!sequence.ok()) {
          reply(sequence.status());
          return;
        }
        FG_LOG_INFO("run {}: site {} joined", answer.run->run.value, id.value);
        reply(answer);
        context_.consider();
        context_.changed();
      });
}

Task TaskDesk::MakeTask(const SiteId& site) const {
  const RunState& state = context_.state;
  const RunFacts& run = *state.run();
  Task task;
  task.run = run.id;
  task.round = state.round();
  task.kind = *state.task_kind();
  task.plan_hash = run.plan.hash;
  const ModelRef& model = state.task_model();
  task.model = model.digest;
  task.model_size_bytes = model.size_bytes;
  const SecureProgress& secure = state.secure();
  if (secure.is_on()) {
    task.secure = {secure.step(), secure.attempt(),
                   secure.PayloadFor(site, state.Survivors())};
  }
  if (model.inline_bytes != nullptr && task.secure.AsksUpdate()) {
    task.model_inline = *model.inline_bytes;
  }
  task.training_round = state.training_round();
  task.progress_timeout = run.plan.progress_timeout;
  if (task.kind == TaskKind::kTrain) {
    task.statistics = state.statistics().gathered.digest;
    task.statistics_size_bytes = state.statistics().gathered.size_bytes;
    task.remedy = state.RemedyOf(site);
    task.counted_round = state.CountedRound(site);
    if (TellsNews(run.plan)) task.compared_look = state.look().compared;
  }
  if (task.kind == TaskKind::kSketch) {
    const ModelRef& pooled = state.look().pooled;
    task.statistics = pooled.digest;
    task.statistics_size_bytes = pooled.size_bytes;
    if (pooled.inline_bytes != nullptr && task.secure.AsksUpdate()) {
      task.statistics_inline = *pooled.inline_bytes;
    }
  }
  if (task.kind == TaskKind::kEvaluate) {
    const EvaluationSpec& evaluation = run.plan.evaluation;
    const bool last = state.IsFinalEvaluation();
    task.split = SplitName(last ? evaluation.final_split : evaluation.split);
    task.compare_local = state.ComparesLocal();
  }
  return task;
}

std::optional<NextTaskReply> TaskDesk::Decide(const SiteId& site,
                                              const RunId& run) {
  const RunState& state = context_.state;
  if (context_.RunChanging()) return std::nullopt;
  if (run.value.empty()) {
    if (state.open()) return Rejoin{};
    return std::nullopt;
  }
  if (state.run() == nullptr || state.run()->id != run) return Rejoin{};
  if (!state.open()) {
    return RunFinished{run, state.model().digest, state.model().size_bytes,
                       static_cast<uint32_t>(state.history().size()),
                       state.stopped()};
  }
  if (!state.joined().contains(site)) return Rejoin{};
  if (!context_.Asking() || !context_.IsAwaited(site) ||
      context_.admitting.contains(site)) {
    return std::nullopt;
  }
  LiveSite* live = context_.sites.Find(site);
  live->has_task = true;
  const Task task = MakeTask(site);
  const size_t content =
      task.model_inline.size() + task.statistics_inline.size();
  live->bytes_sent += content;
  context_.bytes_down += content;
  return task;
}

void TaskDesk::NextTask(const SitePeer& site, const NextTaskRequest& request,
                        Reply<NextTaskReply> reply) {
  context_.sites.Heard(site.id);
  // An older call of this site is answered first: it waits no longer.
  context_.polls.Answer(site.id, NextTaskReply(WaitMore{}));
  if (auto answer = Decide(site.id, request.run)) {
    reply(*std::move(answer));
  } else {
    context_.polls.Park(site.id, request.run, request.poll, std::move(reply));
  }
  context_.changed();
}

void TaskDesk::AnswerPolls() {
  context_.polls.AnswerAll([this](const SiteId& site, const RunId& run) {
    return Decide(site, run);
  });
}

void TaskDesk::Heard(const SitePeer& site, const Heartbeat& heartbeat,
                     Reply<bool> cancel) {
  LiveSite& live = context_.sites.Heard(site.id);
  const RunState& state = context_.state;
  const bool wanted =
      state.open() && !context_.RunChanging() &&
      heartbeat.run == state.run()->id && heartbeat.round == state.round() &&
      heartbeat.kind == state.task_kind() &&
      (!state.secure().is_on() || state.secure().step() == SecureStep::kMask) &&
      !context_.closing && context_.IsAwaited(site.id);
  if (wanted) {
    live.has_task = true;
    live.progress = heartbeat.progress;
  }
  cancel(!wanted);
  context_.changed();
}

void TaskDesk::Decline(const SitePeer& site, const SiteReport& report) {
  LiveSite* live = context_.sites.Find(site.id);
  const std::string refusal = absl::StrCat("by the site: ", report.declined);
  // The same again, as in every attempt at a sum, is said once.
  if (live->last_refusal != refusal) {
    FG_LOG_WARNING("site {} declines round {}: {}", site.id.value,
                   report.round.value, report.declined);
  }
  live->last_refusal = refusal;
  // Not asked again in this phase, nor waited for.
  if (report.round == context_.state.round() &&
      context_.state.task_kind().has_value()) {
    live->attempts_refused = SiteTable::kAttemptsMax;
    context_.consider();
  }
  context_.changed();
}

void TaskDesk::Report(const SitePeer& site, const SiteReport& report,
                      Reply<Done> reply) {
  context_.sites.Heard(site.id);
  const RunState& state = context_.state;
  if (state.run() == nullptr || context_.run_opening ||
      report.run != state.run()->id) {
    reply(context_.Refused(
        site.id, RefusalError(RefusalReason::kUnknownRun,
                              absl::StrCat("run ", report.run.value,
                                           " is not the current one"))));
    return;
  }
  if (!state.joined().contains(site.id)) {
    reply(context_.Refused(site.id, RefusalError(RefusalReason::kNotAllowed,
                                                 "the site has not joined")));
    return;
  }
  if (report.round > state.round()) {
    reply(context_.Refused(
        site.id, RefusalError(RefusalReason::kWrongRound,
                              absl::StrCat("round: expected at most ",
                                           state.round().value, ", got ",
                                           report.round.value))));
    return;
  }
  if (++context_.sites.Find(site.id)->reports > kReportsPerPhaseMax) {
    reply(context_.Refused(
        site.id, RefusalError(RefusalReason::kNotAllowed,
                              absl::StrCat("more than ", kReportsPerPhaseMax,
                                           " reports in one phase"))));
    return;
  }
  if (!report.declined.empty()) Decline(site, report);
  if (IsKnown(state.Scalars(site.id), report.scalars)) {
    reply(Done{});
    return;
  }
  context_.journal->Append(
      SiteReported{site.id, report.round, report.scalars},
      [this, reply = std::move(reply)](absl::StatusOr<uint64_t> sequence) {
        if (sequence.ok()) {
          ChooseRemediesAgain();
          reply(Done{});
        } else {
          reply(sequence.status());
        }
        context_.changed();
      });
}

void TaskDesk::ChooseRemediesAgain() {
  const RunState& state = context_.state;
  if (!state.open() || context_.RunChanging() ||
      state.run()->plan.shift.on_shift != OnShift::kApply) {
    return;
  }
  const RoundId looked_at = state.look().training_round;
  const auto findings = state.findings().find(looked_at);
  if (findings == state.findings().end()) return;
  std::map<std::string, std::map<std::string, double>> told;
  for (const auto& [site, values] : findings->second) {
    told[site.value] = values;
  }
  const auto choices = ChooseRemedies(state.run()->plan, told);
  if (!choices.has_value()) return;
  RemediesChosen chosen;
  chosen.training_round = looked_at;
  for (const auto& [name, choice] : *choices) {
    chosen.sites[SiteId{name}] = choice;
  }
  const RemediesChosen& before =
      choosing_.has_value() ? *choosing_ : state.chosen();
  if (chosen.sites == before.sites &&
      (chosen.sites.empty() ||
       chosen.training_round == before.training_round)) {
    return;
  }
  for (const auto& [site, choice] : chosen.sites) {
    FG_LOG_INFO("run {} look at round {}: site {}: {}{}{}",
                state.run()->id.value, looked_at.value, site.value,
                std::string(SiteRemedyName(choice.remedy)),
                choice.obstacle == RemedyObstacle::kNone ? "" : ": not, as ",
                std::string(RemedyObstacleWords(choice.obstacle)));
  }
  // From the next round of training on.
  choosing_ = chosen;
  context_.journal->Append(
      std::move(chosen),
      [this, choice = ++choices_](absl::StatusOr<uint64_t> sequence) {
        if (choice == choices_) choosing_.reset();
        if (!sequence.ok()) {
          FG_LOG_WARNING("remedies are not journalled: {}",
                         std::string(sequence.status().message()));
        }
        context_.changed();
      });
}

}  // namespace fedgraft
