#include "aggregator/round/run_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/rules/rule.h"
#include "common/base/status_macros.h"
#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/numeric/update_payload.h"
#include "common/shift/look.h"
#include "common/shift/remedies.h"
#include "common/shift/shift_tests.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

// A site's scalars are kept by name, at most this many; its findings of at most
// so many looks.
constexpr size_t kScalarsPerSiteMax = 1024;
constexpr size_t kLooksMax = 1000;
constexpr size_t kComparisonsMax = 100;

// Rounds of it are counted by site.
bool IsTrainingWork(TaskKind kind) {
  return kind != TaskKind::kEvaluate && kind != TaskKind::kSketch;
}

std::shared_ptr<const Bytes> Share(Bytes bytes) {
  if (bytes.empty()) return nullptr;
  return std::make_shared<const Bytes>(std::move(bytes));
}

}  // namespace

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

namespace {

// Larger is better; nullopt if the metric is not there.
std::optional<double> ScoreOf(const Plan& plan,
                              const std::map<std::string, double>& metrics) {
  const char* name = plan.stopping.metric == StoppingMetric::kLoss ? "loss"
                     : plan.stopping.metric == StoppingMetric::kAuc
                         ? "auc"
                         : "balanced_accuracy";
  const auto found = metrics.find(name);
  if (found == metrics.end()) return std::nullopt;
  return plan.stopping.metric == StoppingMetric::kLoss ? -found->second
                                                       : found->second;
}

}  // namespace

bool RunState::Improves(const std::map<std::string, double>& metrics) const {
  const Plan& plan = run_->plan;
  if (plan.stopping.patience == 0 || final_) return false;
  const auto score = ScoreOf(plan, metrics);
  return score.has_value() && (!best_.has_value() ||
                               *score > best_->score + plan.stopping.min_delta);
}

bool RunState::Stops(const std::map<std::string, double>& metrics) const {
  const int patience = run_->plan.stopping.patience;
  if (patience == 0 || final_) return false;
  // Without any score there is nothing to choose from.
  const bool last = IsLastTraining(!solve_.open);
  if (Improves(metrics)) return last;
  return best_.has_value() && (last || without_improvement_ + 1 >= patience);
}

bool RunState::IsLastRound(bool solved, bool news) const {
  if (final_) return !look_.open;
  return IsLastTraining(solved) && !LookFollows(solved, news);
}

bool RunState::LookTells(bool news) const {
  return !TellsNews(run_->plan) || look_.compared == Digest() || look_.news ||
         news;
}

bool RunState::LookDue(bool solved) const {
  const uint32_t every = static_cast<uint32_t>(run_->plan.shift.every);
  if (every == 0 || !solved) return false;
  if (phase_ == Phase::kSolving) return run_->plan.rounds == 0;
  return phase_ == Phase::kTraining &&
         (training_round().value % every == 0 || IsLastTraining(true));
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

RoundId RunState::EvaluatedRound(RoundId reported) const {
  const auto found = comparisons_.find(reported);
  return found == comparisons_.end() ? training_round() : found->second;
}

SiteRemedy RunState::RemedyOf(const SiteId& site) const {
  const auto found = remedies_.find(site);
  return found == remedies_.end() ? SiteRemedy::kNone : found->second;
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

std::vector<SiteId> RunState::Survivors() const {
  std::vector<SiteId> sites;
  for (const auto& [site, contribution] : contributions_) sites.push_back(site);
  return sites;
}

bool RunState::AwaitsSecurely(const SiteId& site) const {
  const bool is_full = secure_.step() == SecureStep::kAdvertise &&
                       secure_.advertised().keys().size() >=
                           static_cast<size_t>(MaxTerms(run_->plan));
  return !is_full &&
         secure_.Awaits(site, Survivors(), participants_.contains(site));
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
                          Share(std::move(record.initial_model_inline))};
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
    solve_.point = {Sha256(point), point.size(), Share(std::move(point))};
  }
  return absl::OkStatus();
}

std::optional<Digest> RunState::PinnedRoster(const SiteId& site) const {
  const auto facts = sites_.find(site);
  return facts == sites_.end() ? std::nullopt : facts->second.roster;
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

void RunState::ChooseRunMasks() {
  if (masks_.has_value()) return;
  std::map<SiteId, std::optional<Digest>> rosters;
  for (const SiteId& site : joined_) rosters[site] = PinnedRoster(site);
  masks_ = ChooseMasks(run_->plan, rosters);
  auto facts = std::make_shared<RunFacts>(*run_);
  facts->plan.secure_aggregation.is_on = masks_->is_on;
  run_ = std::move(facts);
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

void RunState::BeginSecure(uint32_t attempt) {
  secure_ = SecureProgress();
  if (!run_->plan.secure_aggregation.is_on || !task_kind().has_value()) return;
  secure_ = SecureProgress({run_->id, run_->plan.hash, round_, *task_kind(),
                            task_model().digest, attempt},
                           SecureRulesOf(run_->plan));
}

absl::Status RunState::On(SecureAnswered record, absl::Time, uint64_t) {
  if (!secure_.is_on() || record.attempt != secure_.attempt() ||
      record.step != secure_.step() || !AwaitsSecurely(record.site)) {
    return absl::DataLossError(
        absl::StrCat("an answer of site ", record.site.value, " to step ",
                     SecureStepName(record.step), " of attempt ",
                     record.attempt, ", which does not wait for it"));
  }
  return secure_.Put(record.site, record.payload);
}

absl::Status RunState::On(SecureAdvanced record, absl::Time, uint64_t) {
  const bool again = record.step == SecureStep::kAdvertise;
  if (!secure_.is_on() ||
      record.attempt != secure_.attempt() + (again ? 1 : 0)) {
    return absl::DataLossError(
        absl::StrCat("attempt ", record.attempt, " is not under way"));
  }
  if (!again) {
    const size_t have = secure_.step() == SecureStep::kMask
                            ? contributions_.size()
                            : secure_.Answers();
    if (static_cast<int>(have) < secure_.AnswersMin()) {
      return absl::DataLossError(absl::StrCat(
          "step ", SecureStepName(secure_.step()), " ends with ", have,
          " sites, expected at least ", secure_.AnswersMin()));
    }
    return secure_.Advance(record.step);
  }
  for (const auto& [site, contribution] : contributions_) {
    if (IsTrainingWork(contribution.header.kind)) {
      --sites_[site].rounds_contributed;
    }
  }
  contributions_.clear();
  participants_ = joined_;
  BeginSecure(record.attempt);
  return absl::OkStatus();
}

absl::Status RunState::CheckUnmasked() const {
  if (!secure_.is_on()) return absl::OkStatus();
  if (secure_.step() == SecureStep::kUnmask &&
      static_cast<int>(secure_.Answers()) >= secure_.AnswersMin()) {
    return absl::OkStatus();
  }
  return absl::DataLossError("a masked sum without enough shares to unmask it");
}

void RunState::TakeSolve(SolveAdvanced solve) {
  ++solve_.rounds;
  solve_.state = {solve.state, solve.state_size_bytes,
                  Share(std::move(solve.state_inline))};
  solve_.open = !solve.solved;
  if (solve.solved) return;
  solve_.point = {solve.point, solve.point_size_bytes,
                  Share(std::move(solve.point_inline))};
  solve_.stage = solve.stage;
  solve_.candidates = solve.candidates;
}

absl::Status RunState::CheckOpensNext(bool opens_next, bool evaluation_due,
                                      bool solved, bool news) const {
  const bool possible = !evaluation_due && !IsLastRound(solved, news);
  if (!opens_next || possible) return absl::OkStatus();
  return absl::DataLossError("no round can be opened after it");
}

absl::Status RunState::On(ContributionAccepted record, absl::Time,
                          uint64_t sequence) {
  const UploadHeader& header = record.header;
  if (task_kind() != header.kind || header.round != round_ ||
      header.run != run_->id) {
    return absl::DataLossError("a contribution to another run or round");
  }
  if (!participants_.contains(record.site) ||
      contributions_.contains(record.site)) {
    return absl::DataLossError(absl::StrCat(
        "site ", record.site.value, " takes no part or contributed already"));
  }
  if (header.secure_attempt != secure_.attempt() ||
      (secure_.is_on() && !AwaitsSecurely(record.site))) {
    return absl::DataLossError(absl::StrCat(
        "a contribution of site ", record.site.value, " to attempt ",
        header.secure_attempt, ", which does not wait for it"));
  }
  SiteFacts& facts = sites_[record.site];
  facts.receipts[header.kind] = {
      round_, header.secure_attempt, {header.sealed_digest, sequence}};
  if (IsTrainingWork(header.kind)) ++facts.rounds_contributed;
  contributions_.emplace(
      std::move(record.site),
      Contribution{header, sequence, Share(std::move(record.sealed_inline)),
                   std::move(record.spool_file)});
  return absl::OkStatus();
}

absl::Status RunState::CheckSites(const std::vector<SiteId>& sites) const {
  const bool same = std::equal(sites.begin(), sites.end(),
                               contributions_.begin(), contributions_.end(),
                               [](const SiteId& site, const auto& entry) {
                                 return site == entry.first;
                               });
  if (same) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("it is over ", sites.size(),
                   " sites, which are not the ones that contributed (",
                   contributions_.size(), ")"));
}

absl::Status RunState::CheckAdvances(const RoundReduced& record) const {
  const bool solving = phase_ == Phase::kSolving;
  const bool gathering = phase_ == Phase::kGathering;
  const bool training = phase_ == Phase::kTraining;
  if ((!training && !solving && !gathering) || record.round != round_) {
    return absl::DataLossError("this round is not in training");
  }
  if (gathering != record.statistics.has_value() ||
      (gathering && record.model != model_.digest)) {
    return absl::DataLossError(
        "a gathering round without its statistics or with another model, or "
        "the other way round");
  }
  if (solving != record.solve.has_value()) {
    return absl::DataLossError(
        "a solve round without its step, or the other "
        "way round");
  }
  if ((training && run_->rule_has_state) != record.rule.has_value()) {
    return absl::DataLossError(
        "a round of training without its rule's state, or a state of a rule "
        "that has none");
  }
  return absl::OkStatus();
}

absl::Status RunState::On(RoundReduced record, absl::Time, uint64_t) {
  const bool solving = phase_ == Phase::kSolving;
  const bool gathering = phase_ == Phase::kGathering;
  FG_RETURN_IF_ERROR(CheckAdvances(record));
  FG_RETURN_IF_ERROR(CheckSites(record.sites));
  FG_RETURN_IF_ERROR(CheckUnmasked());
  const bool solved = !solving || record.solve->solved;
  const bool evaluation_due = EvaluationDue(solved);
  const bool look_due = LookDue(solved);
  const RoundId looked_at{solving ? 0 : training_round().value};
  const bool news = record.news > 0;
  FG_RETURN_IF_ERROR(
      CheckOpensNext(record.opens_next, evaluation_due, solved, news));
  if (record.sites.size() < static_cast<size_t>(run_->plan.quorum)) {
    return absl::DataLossError(absl::StrCat(record.sites.size(),
                                            " sites are below the quorum of ",
                                            run_->plan.quorum));
  }
  RoundRecord done;
  done.round = round_;
  done.sites = std::move(record.sites);
  done.elapsed = record.elapsed;
  done.bytes_down = record.bytes_down;
  done.saturated = record.saturated;
  done.metrics = std::move(record.metrics);
  done.influence = std::move(record.influence);
  for (const auto& [site, contribution] : contributions_) {
    done.bytes_up += contribution.header.size_bytes;
    if (phase_ == Phase::kTraining) {
      sites_[site].counted_round = training_round();
    }
  }
  history_.push_back(std::move(done));
  model_ = {record.model, record.model_size_bytes,
            Share(std::move(record.model_inline))};
  contributions_.clear();
  if (solving) TakeSolve(*std::move(record.solve));
  if (gathering) {
    StatisticsGathered& got = *record.statistics;
    statistics_ = {
        {got.digest, got.size_bytes, Share(std::move(got.content_inline))},
        /*open=*/false,
        /*rounds=*/1};
  }
  if (record.rule.has_value()) {
    rule_state_ = {record.rule->state, record.rule->state_size_bytes,
                   Share(std::move(record.rule->state_inline))};
  }
  look_.news = look_.news || news;
  if (look_due) BeginLook(looked_at);
  phase_ = evaluation_due ? Phase::kEvaluating : Phase::kPublished;
  NoteComparison();
  BeginSecure(1);
  if (record.opens_next) OpenNext();
  return absl::OkStatus();
}

void RunState::BeginLook(RoundId training_round) {
  look_.training_round = training_round;
  if (LookTells(/*news=*/false)) {
    look_.pooled = ModelRef();
    look_.open = true;
    return;
  }
  history_.back().metrics[kLookUnchanged] = 1;
  CarryFindings();
}

void RunState::NoteComparison() {
  if (phase_ != Phase::kEvaluating || !ComparesLocal()) return;
  if (comparisons_.size() >= kComparisonsMax) {
    comparisons_.erase(comparisons_.begin());
  }
  comparisons_[round_] = training_round();
}

void RunState::CarryFindings() {
  const auto before = findings_.find(look_.compared_round);
  if (before == findings_.end()) return;
  const Findings carried = before->second;
  for (const auto& [site, values] : carried) {
    for (const auto& [name, value] : values) {
      if (name.starts_with(kTransferPrefix)) continue;
      AddFinding(look_.training_round, site, name,
                 name == kShiftNewRecords ? 0 : value);
    }
  }
  // What was chosen by them stands as well.
  if (chosen_.training_round >= look_.compared_round) {
    chosen_.training_round = look_.training_round;
  }
}

absl::Status RunState::On(RemediesChosen record, absl::Time, uint64_t) {
  // The run may have ended while it was written.
  const auto findings = findings_.find(record.training_round);
  if (!open() || run_->plan.shift.on_shift != OnShift::kApply ||
      findings == findings_.end()) {
    return absl::OkStatus();
  }
  for (auto& [site, found] : findings->second) {
    found.erase(std::string(kChosenRemedy));
    found.erase(std::string(kChosenObstacle));
  }
  ++findings_version_;
  for (const auto& [site, choice] : record.sites) {
    if (!findings->second.contains(site)) continue;
    AddFinding(record.training_round, site, std::string(kChosenRemedy),
               static_cast<double>(choice.remedy));
    AddFinding(record.training_round, site, std::string(kChosenObstacle),
               static_cast<double>(choice.obstacle));
  }
  chosen_ = std::move(record);
  return absl::OkStatus();
}

absl::Status RunState::On(SketchClosed record, absl::Time, uint64_t) {
  if (phase_ != Phase::kSketching || record.round != round_) {
    return absl::DataLossError("this round does not sketch");
  }
  const bool abandoned = record.pooled_size_bytes == 0;
  if (abandoned && record.open) {
    return absl::DataLossError("a stage without content has no next one");
  }
  if (record.opens_next && !record.open && IsLastTraining(true)) {
    return absl::DataLossError("no round can be opened after it");
  }
  FG_RETURN_IF_ERROR(CheckSites(record.sites));
  if (!abandoned) FG_RETURN_IF_ERROR(CheckUnmasked());
  for (const auto& [site, contribution] : contributions_) {
    history_.back().bytes_up += contribution.header.size_bytes;
  }
  history_.back().metrics.merge(record.metrics);
  contributions_.clear();
  if (!abandoned && !record.open) {
    look_.compared = look_.pooled.digest;
    look_.compared_round = look_.training_round;
    look_.news = false;
  }
  look_.pooled = {record.pooled, record.pooled_size_bytes,
                  Share(std::move(record.pooled_inline))};
  look_.open = record.open;
  phase_ = Phase::kPublished;
  ++look_.rounds;
  BeginSecure(1);
  if (record.opens_next) OpenNext();
  return absl::OkStatus();
}

absl::Status RunState::On(EvaluationClosed record, absl::Time, uint64_t) {
  if (phase_ != Phase::kEvaluating || record.round != round_) {
    return absl::DataLossError("this round is not being evaluated");
  }
  FG_RETURN_IF_ERROR(CheckSites(record.sites));
  if (!record.metrics.empty()) FG_RETURN_IF_ERROR(CheckUnmasked());
  const bool stops = Stops(record.metrics);
  FG_RETURN_IF_ERROR(CheckOpensNext(record.opens_next, stops, !solve_.open,
                                    /*news=*/false));
  if (final_) history_.emplace_back().round = round_;
  for (const auto& [site, contribution] : contributions_) {
    history_.back().bytes_up += contribution.header.size_bytes;
  }
  const bool improves = Improves(record.metrics);
  without_improvement_ = improves ? 0 : without_improvement_ + 1;
  if (improves) {
    best_ =
        Best{*ScoreOf(run_->plan, record.metrics), model_, training_round()};
  }
  history_.back().metrics.merge(record.metrics);
  contributions_.clear();
  if (stops) {
    // A round of its own, so that sites that have evaluated this one may
    // evaluate again.
    model_ = best_->model;
    final_ = true;
    if (run_->plan.shift.every > 0) BeginLook(best_->training_round);
    ++round_.value;
    participants_ = joined_;
    phase_ = Phase::kEvaluating;
    NoteComparison();
    BeginSecure(1);
    return absl::OkStatus();
  }
  phase_ = Phase::kPublished;
  BeginSecure(1);
  if (record.opens_next) OpenNext();
  return absl::OkStatus();
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

absl::Status RunState::On(SiteReported record, absl::Time, uint64_t) {
  if (!joined_.contains(record.site)) {
    return absl::DataLossError(
        absl::StrCat("site ", record.site.value, " has not joined"));
  }
  std::map<std::string, double>& scalars = sites_[record.site].scalars;
  for (const auto& [name, value] : record.scalars) {
    if (name.starts_with(kShiftPrefix)) {
      AddFinding(look_.training_round, record.site, name, value);
      continue;
    }
    if (name.starts_with(kTransferPrefix)) {
      AddFinding(EvaluatedRound(record.round), record.site, name, value);
      continue;
    }
    if (scalars.size() >= kScalarsPerSiteMax && !scalars.contains(name)) break;
    scalars[name] = value;
  }
  return absl::OkStatus();
}

void RunState::AddFinding(RoundId round, const SiteId& site,
                          const std::string& name, double value) {
  if (findings_.size() >= kLooksMax && !findings_.contains(round)) return;
  auto& found = findings_[round][site];
  if (found.size() < kScalarsPerSiteMax || found.contains(name)) {
    found[name] = value;
    ++findings_version_;
  }
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
