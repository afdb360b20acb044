#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/run_state.h"
#include "common/base/status_macros.h"
#include "common/shift/look.h"
#include "common/shift/remedies.h"
#include "common/shift/shift_tests.h"

namespace fedgraft {
namespace {

// A site's scalars are kept by name, at most this many; its findings of at most
// so many looks.
constexpr size_t kScalarsPerSiteMax = 1024;
constexpr size_t kLooksMax = 1000;
constexpr size_t kComparisonsMax = 100;

}  // namespace

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
                  ShareBytes(std::move(record.pooled_inline))};
  look_.open = record.open;
  phase_ = Phase::kPublished;
  ++look_.rounds;
  BeginSecure(1);
  if (record.opens_next) OpenNext();
  return absl::OkStatus();
}

void RunState::NoteComparison() {
  if (phase_ != Phase::kEvaluating || !ComparesLocal()) return;
  if (comparisons_.size() >= kComparisonsMax) {
    comparisons_.erase(comparisons_.begin());
  }
  comparisons_[round_] = training_round();
}

RoundId RunState::EvaluatedRound(RoundId reported) const {
  const auto found = comparisons_.find(reported);
  return found == comparisons_.end() ? training_round() : found->second;
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

SiteRemedy RunState::RemedyOf(const SiteId& site) const {
  const auto found = remedies_.find(site);
  return found == remedies_.end() ? SiteRemedy::kNone : found->second;
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

}  // namespace fedgraft
