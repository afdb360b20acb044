#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// EWC over a site's run: sees to it that the learner has the run's start, and
// reports what was forgotten since.
//
// Not thread-safe. May throw c10::Error.
class EwcRun {
 public:
  // `start`: where the run starts, if the plan alone says it. What else is
  // given outlives it. REQUIRES: plan.regularizers.ewc_lambda > 0.
  EwcRun(const Plan& plan, Learner& learner, FileStore& files,
         std::optional<ParameterVector> start)
      : plan_(plan),
        learner_(learner),
        files_(files),
        start_(std::move(start)) {}

  // Before training: loads the run's start, or takes it. `model` is what this
  // site trains from now; `set_initial` gives the learner a model together
  // with the site's initial local tensors. Leaves other values in the learner.
  absl::Status Prepare(
      const ParameterVector& model, const ActivationStore& store,
      const std::function<absl::Status(const ParameterVector&)>& set_initial,
      const ProgressSink& progress);
  // The same for a site that trains alone from `model`: with the Fisher
  // information of its own records. EndAlone brings back the run's.
  absl::Status PrepareAlone(
      const ParameterVector& model, const ActivationStore& store,
      const std::function<absl::Status(const ParameterVector&)>& set_initial,
      const ProgressSink& progress);
  void EndAlone();
  // Scalars forgetting_* of what the learner has now, and the Hessian's traces
  // by depth of the block (00: the head), hessian_trace_* with their standard
  // errors hessian_trace_se_*; none if this site never trained.
  absl::StatusOr<std::map<std::string, double>> Scalars(
      const ActivationStore& store, const ProgressSink& progress);

 private:
  // Whether a site alone starts elsewhere (from a head that it solved itself)
  // or with other Fisher information than with the others.
  bool AloneDiffers() const;

  const Plan& plan_;
  Learner& learner_;
  FileStore& files_;
  const std::optional<ParameterVector> start_;
};

}  // namespace fedgraft
