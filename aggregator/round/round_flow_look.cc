#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/round/round_flow.h"
#include "common/base/logging.h"

namespace fedgraft {

std::shared_ptr<const Look> RoundFlow::FindLook() {
  const RunState& state = context_.state;
  if (state.phase() != Phase::kSketching) return nullptr;
  const ModelRef& pooled = state.look().pooled;
  if (look_.second == nullptr || look_.first != pooled.digest) {
    // A first stage, or this process did not pool the one before.
    absl::StatusOr<Look> look =
        LoadLook(*state.run(), pooled, context_.ports.files);
    if (!look.ok()) {
      FG_LOG_ERROR("run {} round {}: {}", state.run()->id.value,
                   state.round().value, look.status().ToString());
      return nullptr;
    }
    look_ = {pooled.digest, std::make_shared<const Look>(*std::move(look))};
  }
  return look_.second;
}

void RoundFlow::PoolSketch() {
  const RunState& state = context_.state;
  if (state.contributions().size() <
      static_cast<size_t>(state.run()->plan.quorum)) {
    return CloseSketch(absl::UnavailableError(
        absl::StrCat(state.contributions().size(), " of at least ",
                     state.run()->plan.quorum, " sites at the deadline")));
  }
  busy_ = true;
  context_.off_strand.Run<absl::StatusOr<NewSketch>>(
      [job = MakeJob(), &files = context_.ports.files] {
        return AdvanceSketch(*job, files);
      },
      [this](absl::StatusOr<NewSketch> sketch) {
        CloseSketch(std::move(sketch));
      });
}

void RoundFlow::CloseSketch(absl::StatusOr<NewSketch> sketch) {
  if (closer_.requested()) return Idle();
  const RunState& state = context_.state;
  SketchClosed closed;
  closed.round = state.round();
  closed.sites = state.Survivors();
  if (sketch.ok()) {
    closed.pooled = sketch->digest;
    closed.pooled_size_bytes = sketch->size_bytes;
    closed.pooled_inline = std::move(sketch->inline_bytes);
    closed.open = !sketch->look->done();
    if (!closed.open) closed.metrics = sketch->look->Verdicts();
    look_ = {closed.pooled, std::move(sketch->look)};
  } else {
    // The run goes on without this look.
    FG_LOG_WARNING("run {} round {}: no look at shift: {}",
                   state.run()->id.value, state.round().value,
                   std::string(sketch.status().message()));
  }
  FG_LOG_INFO("run {} round {}: sketches of {} sites", state.run()->id.value,
              state.round().value, closed.sites.size());
  closed.opens_next =
      !state.paused() && (closed.open || !state.IsLastTraining(true));
  Obsolete obsolete = MakeObsolete();
  const ModelRef& before = state.look().pooled;
  if (before.InBlobStore() && before.digest != closed.pooled) {
    obsolete.blobs.push_back(before.digest);
  }
  Journal(std::move(closed), std::move(obsolete));
}

}  // namespace fedgraft
