#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/run_state.h"
#include "common/base/status_macros.h"

namespace fedgraft {
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
  if (!IsDispensable(header.kind)) ++facts.rounds_contributed;
  contributions_.emplace(
      std::move(record.site),
      Contribution{header, sequence,
                   ShareBytes(std::move(record.sealed_inline)),
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

absl::Status RunState::CheckOpensNext(bool opens_next, bool evaluation_due,
                                      bool solved, bool news) const {
  const bool possible = !evaluation_due && !IsLastRound(solved, news);
  if (!opens_next || possible) return absl::OkStatus();
  return absl::DataLossError("no round can be opened after it");
}

void RunState::TakeSolve(SolveAdvanced solve) {
  ++solve_.rounds;
  solve_.state = {solve.state, solve.state_size_bytes,
                  ShareBytes(std::move(solve.state_inline))};
  solve_.open = !solve.solved;
  if (solve.solved) return;
  solve_.point = {solve.point, solve.point_size_bytes,
                  ShareBytes(std::move(solve.point_inline))};
  solve_.stage = solve.stage;
  solve_.candidates = solve.candidates;
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
            ShareBytes(std::move(record.model_inline))};
  contributions_.clear();
  if (solving) TakeSolve(*std::move(record.solve));
  if (gathering) {
    StatisticsGathered& got = *record.statistics;
    statistics_ = {
        {got.digest, got.size_bytes, ShareBytes(std::move(got.content_inline))},
        /*open=*/false,
        /*rounds=*/1};
  }
  if (record.rule.has_value()) {
    rule_state_ = {record.rule->state, record.rule->state_size_bytes,
                   ShareBytes(std::move(record.rule->state_inline))};
  }
  look_.news = look_.news || news;
  if (look_due) BeginLook(looked_at);
  phase_ = evaluation_due ? Phase::kEvaluating : Phase::kPublished;
  NoteComparison();
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

}  // namespace fedgraft
