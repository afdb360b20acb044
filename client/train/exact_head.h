#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/head_statistics.h"
#include "client/train/learner.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/solve/solve_point.h"

namespace fedgraft {

// A site's part in solving the head (plan.solver): frozen features by split,
// its sums at a point, and what it makes of the shared head for itself.
//
// Features are those of the pretrained backbone, which the learner holds only
// before it trains: TakeFeatures sets it back.
// Not thread-safe. May throw c10::Error.
class ExactHead {
 public:
  // `plan` and `learner` outlive it. REQUIRES: plan.solver.kind is not kNone,
  // and the learner holds the pretrained values.
  ExactHead(const Plan& plan, Learner& learner);

  bool HasFeatures(Split split) const { return features_.contains(split); }
  // Computes the features of one split from its activations.
  absl::Status TakeFeatures(Split split, const ActivationStore& store);
  // No records for the split, unless TakeFeatures was called.
  const LabelledFeatures& Features(Split split) { return features_[split]; }

  absl::StatusOr<std::vector<double>> Statistics(const SolvePoint& point);
  // The head that this site's own records give, in `values`; what Statistics
  // and the aggregator would do among one site.
  absl::Status SolveAlone(ParameterVector& values);
  // The shared head as this site applies it: with its own normalisation
  // (normalization: per_site) and its own intercepts (site_intercept).
  void Localise(ParameterVector& values);
  bool localises() const {
    return plan_.solver.site_intercept ||
           plan_.solver.normalization == Normalization::kPerSite;
  }

 private:
  const Plan& plan_;
  Learner& learner_;
  ParameterVector pretrained_;
  std::map<Split, LabelledFeatures> features_;
};

}  // namespace fedgraft
