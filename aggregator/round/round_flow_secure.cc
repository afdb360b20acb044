// The steps of secure aggregation, as RoundFlow moves through them.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "aggregator/round/round_flow.h"
#include "common/base/logging.h"

namespace fedgraft {

void RoundFlow::ConsiderSecure() {
  const RunState& state = context_.state;
  const SecureProgress& secure = state.secure();
  const SecureStep step = secure.step();
  const TaskKind kind = *state.task_kind();
  const size_t have = step == SecureStep::kMask ? state.contributions().size()
                                                : secure.Answers();
  const bool enough = have >= static_cast<size_t>(secure.AnswersMin());
  // Signatures and shares of the threshold do; who is late is not missed.
  const bool soon = step == SecureStep::kAgree || step == SecureStep::kUnmask;
  const bool complete = soon || context_.closing || CountAwaited() == 0;
  if (enough && (complete || deadline_passed_)) {
    if (step == SecureStep::kUnmask) {
      if (context_.masks == nullptr && !MakeMasks()) {
        // With another share it may succeed.
        if (CountAwaited() > 0 && !deadline_passed_) return;
        context_.closing = true;
        return ReopenSecure("the released shares do not fit");
      }
      context_.closing = true;
      if (kind == TaskKind::kEvaluate) return PoolMetrics();
      if (kind == TaskKind::kSketch) return PoolSketch();
      return Reduce();
    }
    context_.closing = true;
    if (!context_.admitting.empty()) return;
    return EndSecureStep();
  }
  // A look that nobody is left to complete is given up at once.
  const bool hopeless = kind == TaskKind::kSketch && CountAwaited() == 0;
  if (!deadline_passed_ && !hopeless) return;
  // A site that has released shares takes part in no other attempt with fewer
  // sites: those that are missing have to come back.
  const bool released = step == SecureStep::kUnmask && have > 0;
  const bool dispensable =
      kind == TaskKind::kEvaluate || kind == TaskKind::kSketch;
  if (!dispensable && (step == SecureStep::kAdvertise || released)) {
    return Extend();
  }
  // What was complete at the site by now may still make it enough.
  context_.closing = true;
  if (!context_.admitting.empty()) return;
  const std::string why =
      absl::StrCat(have, " of at least ", secure.AnswersMin(),
                   " sites at the deadline of step ", SecureStepName(step));
  if (kind == TaskKind::kEvaluate) {
    return CloseEvaluation(absl::UnavailableError(why));
  }
  if (kind == TaskKind::kSketch) {
    return CloseSketch(absl::UnavailableError(why));
  }
  ReopenSecure(why);
}

void RoundFlow::EndSecureStep() {
  const SecureProgress& secure = context_.state.secure();
  const SecureStep next =
      static_cast<SecureStep>(static_cast<int>(secure.step()) + 1);
  FG_LOG_INFO("run {} round {}: secure aggregation, attempt {}: {}",
              context_.state.run()->id.value, context_.state.round().value,
              secure.attempt(), SecureStepName(next));
  Journal(SecureAdvanced{secure.attempt(), next}, {});
}

std::string RoundFlow::Refusals() const {
  constexpr size_t kSitesMax = 5;
  std::vector<std::string> said;
  for (const SiteId& site : context_.state.participants()) {
    const LiveSite* live = context_.sites.Find(site);
    if (live == nullptr || live->last_refusal.empty()) continue;
    said.push_back(absl::StrCat(site.value, " (", live->last_refusal, ")"));
    if (said.size() == kSitesMax) break;
  }
  return said.empty() ? "no site has said why" : absl::StrJoin(said, "; ");
}

bool RoundFlow::IsRefused() const {
  const auto& sites = context_.state.participants();
  return std::any_of(sites.begin(), sites.end(), [this](const SiteId& site) {
    const LiveSite* live = context_.sites.Find(site);
    return live != nullptr && live->attempts_refused >= SiteTable::kAttemptsMax;
  });
}

void RoundFlow::TellMasks() {
  const RunState& state = context_.state;
  if (!state.open() || !state.masks().has_value()) return;
  const bool masked = state.masks()->is_on;
  for (UpdateForm* form : {&context_.tools.train, &context_.tools.evaluate,
                           &context_.tools.gather}) {
    form->masked = masked;
  }
  if (told_masks_ == state.run()->id) return;
  told_masks_ = state.run()->id;
  const std::string text = state.masks()->ToText();
  if (masked) {
    FG_LOG_INFO("run {}: {}", state.run()->id.value, text);
  } else {
    FG_LOG_WARNING("run {}: {}", state.run()->id.value, text);
  }
}

void RoundFlow::ReopenSecure(absl::string_view why) {
  const RunState& state = context_.state;
  const uint32_t attempt = state.secure().attempt();
  if (attempt >= (IsRefused() ? kRefusedAttemptsMax : kSecureAttemptsMax)) {
    std::string reason = absl::StrCat(
        "round ", state.round().value, ": no sum (",
        TaskKindName(*state.task_kind()), ") could be unmasked in ", attempt,
        " attempts; the last: ", why, ". Sites: ", Refusals(),
        ". Expected: a roster with all sites pinned at each of them, and for "
        "statistics that were summed before the same sites again or a cohort "
        "that differs by cohort_min sites; see docs/SECURITY.md");
    FG_LOG_ERROR("run {}: {}", state.run()->id.value, reason);
    busy_ = false;  // what was reduced is of no use
    return Close(/*stopped=*/true, std::move(reason), nullptr);
  }
  FG_LOG_WARNING(
      "run {} round {}: the sum of attempt {} stays masked: {}; it is begun "
      "again with fresh keys",
      state.run()->id.value, state.round().value, state.secure().attempt(),
      std::string(why));
  Journal(SecureAdvanced{state.secure().attempt() + 1, SecureStep::kAdvertise},
          MakeObsolete());
}

bool RoundFlow::MakeMasks() {
  const RunState& state = context_.state;
  const SecureProgress& secure = state.secure();
  auto masks = secure.unmasked().Reconstruct(secure.Facts(state.Survivors()));
  if (!masks.ok()) {
    FG_LOG_WARNING("run {} round {}: {}", state.run()->id.value,
                   state.round().value, std::string(masks.status().message()));
    return false;
  }
  context_.masks = std::make_shared<const MaskRemoval>(*std::move(masks));
  return true;
}

}  // namespace fedgraft
