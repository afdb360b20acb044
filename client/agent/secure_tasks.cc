#include "client/agent/secure_tasks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/agent/agent_state.h"
#include "client/agent/retry.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/shift/look.h"
#include "common/solve/solve_point.h"

namespace fedgraft {
namespace {

// Sums of features that change belong to their run. Those of frozen features
// are the same in every look.
std::string SketchOf(const RunContext& run, const Task& task) {
  const bool is_frozen = HasFrozenFeatures(run.plan);
  return absl::StrCat(
      is_frozen ? "" : ReleasedCohorts::RunPrefix(task.run), "sketch of ",
      run.plan.backbone.Short(), ", ", run.plan.num_classes(), " classes, ",
      is_frozen ? "" : task.model.Short(), ", after ",
      task.statistics_size_bytes > 0 ? task.statistics.Short() : "nothing");
}

// What a task's sum is of. Statistics that do not depend on parameters are the
// same in every run over one backbone; all others belong to their run.
absl::StatusOr<std::string> StatisticOf(const RunContext& run, const Task& task,
                                        FileStore& files) {
  if (task.kind == TaskKind::kGather) {
    return absl::StrCat("start statistics of ", run.plan.backbone.Short(), ", ",
                        run.plan.num_classes(), " classes");
  }
  if (task.kind == TaskKind::kSketch) return SketchOf(run, task);
  if (task.kind == TaskKind::kSolve) {
    FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, kWorkModelPath));
    FG_ASSIGN_OR_RETURN(const SolvePoint point, DecodeSolvePoint(content));
    if (point.stage == SolveStage::kMoments ||
        point.stage == SolveStage::kGram || point.stage == SolveStage::kCross) {
      return absl::StrCat("statistics of ", run.plan.backbone.Short(), ", ",
                          run.plan.num_classes(), " classes, stage ",
                          static_cast<int>(point.stage));
    }
  }
  return absl::StrCat(ReleasedCohorts::RunPrefix(task.run),
                      TaskKindName(task.kind), " ", task.model.Short(), " ",
                      task.split);
}

}  // namespace

// One step's needs, for the executor.
struct SecureTasks::Work {
  std::shared_ptr<const RunContext> run;
  Task task;
  std::shared_ptr<SecureSite> site;
  std::function<absl::StatusOr<Roster>()> pinned_roster;
  SiteId id;
  const SigningKey& key;
  SecureRules rules;
  FileStore& files;

  absl::StatusOr<SecureParty> Party() const {
    if (!pinned_roster) {
      return absl::FailedPreconditionError("no roster is pinned at this site");
    }
    FG_ASSIGN_OR_RETURN(Roster roster, pinned_roster());
    return SecureParty{id, key, std::move(roster), rules};
  }
  SecureSession Session() const {
    return {task.run,  task.plan_hash, task.round,
            task.kind, task.model,     task.secure.attempt};
  }
  absl::StatusOr<Bytes> Answer() const {
    FG_ASSIGN_OR_RETURN(const SecureParty party, Party());
    const SecureSession session = Session();
    switch (task.secure.step) {
      case SecureStep::kAdvertise:
        return site->Advertise(party, session);
      case SecureStep::kShare:
        return site->Share(party, session, task.secure.payload);
      case SecureStep::kAgree:
        return site->Agree(party, session, task.secure.payload);
      case SecureStep::kUnmask:
        return site->Release(party, session, task.secure.payload);
      case SecureStep::kNone:
      case SecureStep::kMask:
        break;
    }
    return absl::InternalError("a step that asks for an update");
  }
};

SecureTasks::SecureTasks(AgentPorts ports, const AgentOptions& options,
                         AgentKeys keys, Background& background)
    : ports_(ports),
      options_(options),
      keys_(keys),
      background_(background),
      site_(std::make_shared<SecureSite>(ports.files, ports.random)) {}

std::shared_ptr<SecureTasks::Work> SecureTasks::MakeWork(
    std::shared_ptr<const RunContext> run, const Task& task) const {
  SecureRules rules = SecureRulesOf(run->plan);
  rules.cohort_min = std::max(rules.cohort_min, options_.policy.cohort_min);
  Task asked = task;
  asked.model_inline.clear();  // no step looks at it
  return std::make_shared<Work>(Work{std::move(run), std::move(asked), site_,
                                     options_.pinned_roster, options_.site,
                                     keys_.signing_key, rules, ports_.files});
}

void SecureTasks::Run(std::shared_ptr<const RunContext> run, const Task& task,
                      Reply<Done> reply) {
  FG_CHECK(!task.secure.AsksUpdate());
  if (task.run != run->descriptor.run ||
      task.plan_hash != run->descriptor.plan_hash ||
      !run->plan.secure_aggregation.is_on) {
    return reply(absl::InvalidArgumentError(absl::StrCat(
        "round ", task.round.value,
        " asks for a step of secure aggregation; this run has none")));
  }
  background_.Run(
      [work = MakeWork(std::move(run), task)] { return work->Answer(); },
      guard_(
          [this, task, reply = std::move(reply)](absl::StatusOr<Bytes> answer) {
            if (!answer.ok()) return reply(answer.status());
            Send(task, *std::move(answer), reply);
          }));
}

void SecureTasks::Send(const Task& task, Bytes payload,
                       const Reply<Done>& reply) {
  AuditEvent event;
  event.event = "secure_step";
  event.run = task.run;
  event.round = task.round;
  event.bytes = payload.size();
  event.digest = Sha256(payload);
  event.detail = absl::StrCat(TaskKindName(task.kind), ", ",
                              SecureStepName(task.secure.step), ", attempt ",
                              task.secure.attempt);
  const absl::Status recorded = ports_.audit.Record(event);
  if (!recorded.ok()) return reply(recorded);
  SecureAnswer answer{task.run,         task.round,
                      task.kind,        task.secure.attempt,
                      task.secure.step, std::move(payload)};
  ports_.link.AnswerStep(
      std::move(answer), guard_([reply](const absl::StatusOr<Done>& done) {
        if (!done.ok() && IsRetryable(done.status())) {
          return reply(absl::CancelledError(done.status().message()));
        }
        // The aggregator has moved on: what it wants now is in the next task.
        if (RefusalOf(done.status()) == RefusalReason::kWrongRound) {
          return reply(absl::CancelledError(done.status().message()));
        }
        reply(done);
      }));
}

std::function<absl::StatusOr<MaskedUpdate>(QuantizedUpdate)>
SecureTasks::Masker(std::shared_ptr<const RunContext> run,
                    const Task& task) const {
  return [work = MakeWork(std::move(run), task)](
             QuantizedUpdate update) -> absl::StatusOr<MaskedUpdate> {
    FG_ASSIGN_OR_RETURN(const SecureParty party, work->Party());
    FG_ASSIGN_OR_RETURN(const std::string statistic,
                        StatisticOf(*work->run, work->task, work->files));
    FG_ASSIGN_OR_RETURN(MaskedInput masks,
                        work->site->Mask(party, work->Session(),
                                         work->task.secure.payload, statistic));
    return MaskedUpdate::Mask(std::move(update), std::move(masks));
  };
}

}  // namespace fedgraft
