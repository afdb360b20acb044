#include "aggregator/round/run_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/rule.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {

absl::string_view PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kIdle:
      return "idle";
    case Phase::kEnrolling:
      return "enrolling";
    case Phase::kSolving:
      return "solving";
    case Phase::kGathering:
      return "gathering";
    case Phase::kSketching:
      return "sketching";
    case Phase::kTraining:
      return "training";
    case Phase::kEvaluating:
      return "evaluating";
    case Phase::kPublished:
      return "published";
    case Phase::kClosed:
      return "closed";
  }
  return "unknown";
}

bool IsDispensable(TaskKind kind) {
  return kind == TaskKind::kEvaluate || kind == TaskKind::kSketch;
}

std::shared_ptr<const Bytes> ShareBytes(Bytes bytes) {
  if (bytes.empty()) return nullptr;
  return std::make_shared<const Bytes>(std::move(bytes));
}

bool RunState::IsLastRound(bool solved, bool news) const {
  if (final_) return !look_.open;
  return IsLastTraining(solved) && !LookFollows(solved, news);
}

bool RunState::IsLastTraining(bool solved) const {
  if (final_) return true;
  if (!solved) return false;
  const uint32_t before = prepares() ? round_.value : preparing_rounds();
  return round_.value - before == static_cast<uint32_t>(run_->plan.rounds);
}

bool RunState::EvaluationDue(bool solved) const {
  const int every = run_->plan.evaluation.every;
  if (every < 0 || !solved || phase_ == Phase::kGathering) return false;
  // The head is evaluated once, when it is solved.
  if (IsLastTraining(solved) || solve_.open) return true;
  return every > 0 &&
         training_round().value % static_cast<uint32_t>(every) == 0;
}

bool RunState::ComparesLocal() const {
  const EvaluationSpec& spec = run_->plan.evaluation;
  if (!spec.compare_local) return false;
  if (IsFinalEvaluation()) return true;
  const uint32_t every = static_cast<uint32_t>(spec.compare_local_every);
  const uint32_t round = training_round().value;
  return every > 0 && round > 0 && round % every == 0;
}

absl::Status RunState::Apply(JournalEntry entry, uint64_t sequence) {
  return std::visit(
      [&](auto&& record) -> absl::Status {
        const absl::Status status = On(std::move(record), entry.time, sequence);
        if (status.ok()) return status;
        return absl::DataLossError(absl::StrCat(
            "log record ", sequence, " does not follow from those before it (",
            PhaseName(phase_), ", round ", round_.value,
            "): ", status.message()));
      },
      std::move(entry.record));
}

std::optional<TaskKind> RunState::task_kind() const {
  if (phase_ == Phase::kSolving) return TaskKind::kSolve;
  if (phase_ == Phase::kGathering) return TaskKind::kGather;
  if (phase_ == Phase::kSketching) return TaskKind::kSketch;
  if (phase_ == Phase::kTraining) return TaskKind::kTrain;
  if (phase_ == Phase::kEvaluating) return TaskKind::kEvaluate;
  return std::nullopt;
}

std::optional<UploadReceipt> RunState::FindReceipt(
    const SiteId& site, const UploadHeader& header) const {
  if (run_ == nullptr || header.run != run_->id) return std::nullopt;
  const auto facts = sites_.find(site);
  if (facts == sites_.end()) return std::nullopt;
  const auto found = facts->second.receipts.find(header.kind);
  if (found == facts->second.receipts.end()) return std::nullopt;
  const Receipt& receipt = found->second;
  if (receipt.round != header.round ||
      receipt.receipt.sealed_digest != header.sealed_digest) {
    return std::nullopt;
  }
  return receipt.receipt;
}

bool RunState::HasContributed(const SiteId& site,
                              const UploadHeader& header) const {
  const auto facts = sites_.find(site);
  if (facts == sites_.end()) return false;
  const auto found = facts->second.receipts.find(header.kind);
  return found != facts->second.receipts.end() &&
         found->second.round == header.round &&
         found->second.secure_attempt == header.secure_attempt;
}

uint32_t RunState::RoundsContributed(const SiteId& site) const {
  const auto facts = sites_.find(site);
  return facts == sites_.end() ? 0 : facts->second.rounds_contributed;
}

RoundId RunState::CountedRound(const SiteId& site) const {
  const auto facts = sites_.find(site);
  return facts == sites_.end() ? RoundId() : facts->second.counted_round;
}

int RunState::CountedSites(bool with_contributions) const {
  int sites = 0;
  for (const auto& [site, facts] : sites_) {
    const bool is_counted = facts.counted_round.value > 0;
    if (is_counted || (with_contributions && contributions_.contains(site))) {
      ++sites;
    }
  }
  return sites;
}

const std::map<std::string, double>& RunState::Scalars(
    const SiteId& site) const {
  static const std::map<std::string, double> kNone;
  const auto facts = sites_.find(site);
  return facts == sites_.end() ? kNone : facts->second.scalars;
}

absl::Status RunState::On(RunOpened record, absl::Time time, uint64_t) {
  if (open()) return absl::DataLossError("a run is open already");
  auto facts = std::make_shared<RunFacts>();
  FG_ASSIGN_OR_RETURN(facts->plan, PlanFromBytes(record.plan));
  facts->id = std::move(record.run);
  facts->layout =
      std::make_shared<const ParameterLayout>(std::move(record.layout));
  facts->wrapped_key = std::move(record.wrapped_key);
  facts->hpke_public_key = std::move(record.hpke_public_key);
  facts->hpke_key_signature = std::move(record.hpke_key_signature);
  facts->initial_model = {record.initial_model, record.initial_model_size_bytes,
                          ShareBytes(std::move(record.initial_model_inline))};
  facts->backbone_size_bytes = record.backbone_size_bytes;
  facts->opened = time;
  FG_ASSIGN_OR_RETURN(const auto rule, MakeRule(facts->plan));
  facts->rule_has_state =
      rule->AsSum() != nullptr && rule->AsSum()->StateSlots() > 0;
  *this = RunState();
  run_ = std::move(facts);
  model_ = run_->initial_model;
  if (run_->plan.secure_aggregation.mode != SecureMode::kAuto) {
    masks_ = ChooseMasks(run_->plan, {});
  }
  phase_ = Phase::kEnrolling;
  statistics_.open = !StatisticsLayout(run_->plan, *run_->layout).empty();
  if (run_->plan.solver.kind != SolverKind::kNone) {
    const int64_t features = HeadFeatures(run_->plan, *run_->layout);
    if (features < 1) return absl::DataLossError("no linear head to solve");
    Bytes point = EncodeSolvePoint(
        NextPoint(run_->plan, InitialSolverState(run_->plan, features)));
    solve_.open = true;
    solve_.point = {Sha256(point), point.size(), ShareBytes(std::move(point))};
  }
  return absl::OkStatus();
}

absl::Status RunState::On(SiteJoined record, absl::Time, uint64_t) {
  if (!open()) return absl::DataLossError("no run is open");
  sites_[record.site].roster = record.roster;
  joined_.insert(std::move(record.site));
  return absl::OkStatus();
}

absl::Status RunState::On(RoundOpened record, absl::Time, uint64_t) {
  const bool is_round =
      phase_ == Phase::kTraining || phase_ == Phase::kSolving ||
      phase_ == Phase::kGathering || phase_ == Phase::kSketching;
  if (is_round && record.round == round_) {
    participants_ = joined_;  // opened again
    return absl::OkStatus();
  }
  if (phase_ != Phase::kEnrolling && phase_ != Phase::kPublished) {
    return absl::DataLossError("a round cannot be opened now");
  }
  if (record.round.value != round_.value + 1 ||
      (phase_ == Phase::kPublished && IsLastRound())) {
    return absl::DataLossError(
        absl::StrCat("round ", record.round.value, " is not the next"));
  }
  if (phase_ == Phase::kEnrolling) ChooseRunMasks();
  OpenNext();
  return absl::OkStatus();
}

void RunState::OpenNext() {
  ++round_.value;
  participants_ = joined_;
  phase_ = solve_.open        ? Phase::kSolving
           : statistics_.open ? Phase::kGathering
           : look_.open       ? Phase::kSketching
                              : Phase::kTraining;
  if (phase_ == Phase::kTraining) {
    remedies_.clear();
    for (const auto& [site, choice] : chosen_.sites) {
      if (choice.obstacle == RemedyObstacle::kNone) {
        remedies_[site] = choice.remedy;
      }
    }
  }
  BeginSecure(1);
}

absl::Status RunState::On(RunClosed record, absl::Time, uint64_t) {
  if (!open()) return absl::DataLossError("no run is open");
  phase_ = Phase::kClosed;
  stopped_ = record.stopped;
  end_reason_ = std::move(record.reason);
  paused_ = false;
  contributions_.clear();
  BeginSecure(1);
  return absl::OkStatus();
}

absl::Status RunState::On(RunPaused record, absl::Time, uint64_t) {
  if (!open()) return absl::DataLossError("no run is open");
  paused_ = record.paused;
  return absl::OkStatus();
}

std::vector<Digest> StatesOfRun(const RunState& state) {
  std::vector<Digest> digests;
  for (const ModelRef* ref : {&state.rule_state(), &state.statistics().gathered,
                              &state.look().pooled}) {
    if (ref->InBlobStore()) digests.push_back(ref->digest);
  }
  return digests;
}

}  // namespace fedgraft
