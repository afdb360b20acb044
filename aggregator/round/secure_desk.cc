#include "aggregator/round/secure_desk.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status SecureDesk::CheckPlace(const SecureAnswer& answer) const {
  FG_RETURN_IF_ERROR(context_.journal->failure());
  const RunState& state = context_.state;
  if (!state.open() || context_.RunChanging() ||
      answer.run != state.run()->id) {
    return RefusalError(RefusalReason::kUnknownRun,
                        absl::StrCat("run ", answer.run.value, " is not open"));
  }
  const SecureProgress& secure = state.secure();
  if (!secure.is_on() || answer.round != state.round() ||
      answer.kind != state.task_kind() || answer.attempt != secure.attempt() ||
      answer.step > secure.step()) {
    return RefusalError(
        RefusalReason::kWrongRound,
        absl::StrCat("expected step ", SecureStepName(secure.step()), " of ",
                     PhaseName(state.phase()), ", round ", state.round().value,
                     ", attempt ", secure.attempt(), "; got ",
                     SecureStepName(answer.step), " of ",
                     TaskKindName(answer.kind), ", round ", answer.round.value,
                     ", attempt ", answer.attempt));
  }
  return absl::OkStatus();
}

bool SecureDesk::IsOfPastRound(const SecureAnswer& answer) const {
  const RunState& state = context_.state;
  return state.open() && answer.run == state.run()->id &&
         answer.round < state.round();
}

bool SecureDesk::IsLate(const SiteId& site, const SecureAnswer& answer) const {
  return answer.step < context_.state.secure().step() || context_.closing ||
         !context_.state.AwaitsSecurely(site);
}

void SecureDesk::Take(const SitePeer& site, const SecureAnswer& answer,
                      Reply<Done> reply) {
  context_.sites.Heard(site.id);
  if (IsOfPastRound(answer)) {
    reply(Done{});
    return;
  }
  absl::Status refusal = CheckPlace(answer);
  if (!refusal.ok()) {
    reply(context_.Refused(site.id, refusal));
    return;
  }
  if (IsLate(site.id, answer)) {
    reply(Done{});
    return;
  }
  if (pending_.contains(site.id)) {
    reply(absl::UnavailableError("an answer of this site is being written"));
    return;
  }
  const absl::Status fits = context_.state.secure().Check(
      site.id, site.public_key, context_.state.Survivors(), answer.payload);
  if (!fits.ok()) {
    if (LiveSite* live = context_.sites.Find(site.id)) ++live->attempts_refused;
    reply(context_.Refused(site.id,
                           RefusalError(absl::IsPermissionDenied(fits)
                                            ? RefusalReason::kBadSignature
                                            : RefusalReason::kBadLayout,
                                        std::string(fits.message()))));
    context_.consider();
    return;
  }
  const bool is_full =
      answer.step == SecureStep::kAdvertise &&
      context_.state.secure().advertised().keys().size() + pending_.size() >=
          static_cast<size_t>(context_.tools.form(answer.kind).max_terms);
  if (is_full) {
    reply(Done{});  // the round goes on without it
    return;
  }
  pending_.insert(site.id);
  context_.journal->Append(
      SecureAnswered{site.id, answer.attempt, answer.step, answer.payload},
      [this, id = site.id,
       reply = std::move(reply)](const absl::StatusOr<uint64_t>& sequence) {
        Journalled(id, sequence.status(), reply);
      });
}

void SecureDesk::Journalled(const SiteId& site, const absl::Status& status,
                            const Reply<Done>& reply) {
  pending_.erase(site);
  if (!status.ok()) {
    reply(status);
    return;
  }
  reply(Done{});
  context_.consider();
  context_.changed();
}

}  // namespace fedgraft
