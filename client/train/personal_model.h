#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "client/train/local_state.h"
#include "client/train/session.h"
#include "client/train/site_metrics.h"

namespace fedgraft {

// A site's own model beside the shared one (Li et al., "Ditto: Fair and Robust
// Federated Learning Through Personalization", 2021, algorithm 1): after each
// round it is trained as long as the shared one, drawn towards the model that
// the round started from. It is kept in the site's state folder and nowhere
// else: the update is taken from the learner before it is trained.
//
// Leaves its own values in the learner. References outlive this.
class PersonalModel {
 public:
  // `initial`: of the learner's trained layout, where the run starts.
  PersonalModel(FileStore& files, Learner& learner, ParameterVector initial)
      : learner_(learner),
        state_(files, kPersonalFolder, learner.trained_layout(),
               std::move(initial)) {}

  // Whether it was trained in a round up to this one.
  absl::StatusOr<bool> Began(int round) const { return state_.Holds(round); }
  // `shared`, of the trained layout, is the model that round `round` started
  // from. `begins_shared`: what was never trained begins as that, rather than
  // where the run starts.
  absl::Status Train(int round, const ParameterVector& shared,
                     bool begins_shared, const ActivationStore& data,
                     const ProgressSink& progress);
  // Answers of the model as it was after round `round`.
  absl::StatusOr<Predictions> Predict(int round, const ActivationStore& data,
                                      const ProgressSink& progress);

 private:
  Learner& learner_;
  LocalState state_;
};

}  // namespace fedgraft
