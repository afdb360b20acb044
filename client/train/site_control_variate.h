#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/learner.h"
#include "client/train/local_state.h"
#include "common/config/plan.h"
#include "common/model/control_variates.h"
#include "common/numeric/ring_codec.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The site's part of rule scaffold (Karimireddy et al. 2020, "SCAFFOLD:
// Stochastic Controlled Averaging for Federated Learning", algorithm 1, option
// II): steps of y -= η (g - c_k + c), and after τ of them
//   c_k⁺ = c_k - c + (x - y) / (τ η)
// with each parameter's own rate η. What travels is [y - x, c_k⁺ - c_k].
//
// The server's c is the mean of all sites' c_k, and stays so, because a site's
// c_k becomes c_k⁺ exactly where the aggregator counted its change: c_k⁺ is on
// disk before the update can be sealed, under the number of its round, beside
// the c_k that it came from, and the next round goes on from the one that the
// aggregator's journal names (Task.counted_round). So neither a round that is
// done again, after a crash or in another attempt at a masked sum, nor an
// update that came too late leaves a trace. What clipping, the
// range and the grid of updates take from the change is not in c_k⁺ either.
//
// Not thread-safe. Methods may throw c10::Error.
class SiteControlVariate {
 public:
  // What is given outlives it.
  static absl::StatusOr<std::unique_ptr<SiteControlVariate>> Create(
      const Plan& plan, FileStore& files, Learner& learner);

  // Of updates: the parameters that travel and their control variates.
  const ParameterLayout& layout() const { return layout_; }

  // Before a round: gives the learner c - c_k. `model_path`: the published
  // trainable set, of layout(). FAILED_PRECONDITION: c_k as it was after
  // `counted_round` is not there (0: it is 0).
  absl::Status Begin(int counted_round, const std::string& model_path);
  // After round `round`, which came to `delta`, of the learner's layout: keeps
  // c_k⁺; returns the update, clipped as the plan says. FAILED_PRECONDITION:
  // the learner took no step.
  absl::StatusOr<ParameterVector> Finish(int round,
                                         const ParameterVector& delta);

 private:
  SiteControlVariate(const Plan& plan, FileStore& files, Learner& learner,
                     ParameterLayout layout, ParameterLayout variates,
                     const RingSpec& ring);
  // c_k⁺ - c_k before anything is cut.
  ParameterVector ChangeAfter(int round, const ParameterVector& delta) const;

  const Plan& plan_;
  Learner& learner_;
  const ParameterLayout layout_, variates_;
  const ControlVariates place_;  // in layout_
  const RingSpec ring_;          // of updates
  LocalState state_;
  ParameterVector server_, own_;  // c and c_k of the round under way
};

}  // namespace fedgraft
