#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/run_state.h"
#include "common/numeric/update_payload.h"

namespace fedgraft {

std::optional<Digest> RunState::PinnedRoster(const SiteId& site) const {
  const auto facts = sites_.find(site);
  return facts == sites_.end() ? std::nullopt : facts->second.roster;
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

void RunState::ChooseRunMasks() {
  if (masks_.has_value()) return;
  std::map<SiteId, std::optional<Digest>> rosters;
  for (const SiteId& site : joined_) rosters[site] = PinnedRoster(site);
  masks_ = ChooseMasks(run_->plan, rosters);
  auto facts = std::make_shared<RunFacts>(*run_);
  facts->plan.secure_aggregation.is_on = masks_->is_on;
  run_ = std::move(facts);
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
    if (!IsDispensable(contribution.header.kind)) {
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

}  // namespace fedgraft
