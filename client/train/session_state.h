#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/preprocess.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/ewc_run.h"
#include "client/train/head_solving.h"
#include "client/train/learner.h"
#include "client/train/local_state.h"
#include "client/train/personal_model.h"
#include "client/train/record_weights.h"
#include "client/train/run_statistics.h"
#include "client/train/session.h"
#include "client/train/session_stores.h"
#include "client/train/shift_look.h"
#include "client/train/site_control_variate.h"
#include "common/model/backbone_file.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {

// What this site's records alone come to: kept so that the next comparison
// goes on from it.
struct AloneModel {
  int rounds = 0;
  ParameterVector start;   // of the layout: where it began
  ParameterVector values;  // of the trained layout
};

// What a session holds, and its work; session.h tells what its calls do. May
// throw c10::Error. SetUp comes first.
struct TrainerSession::State {
  SessionConfig config;
  const Clock& clock;
  Compute compute;
  std::optional<Preprocessor> preprocessor;
  std::unique_ptr<Learner> learner;
  std::unique_ptr<PosixFileStore> files;        // null: nothing is kept
  std::unique_ptr<LocalState> local;            // null: no local tensors
  std::unique_ptr<PersonalModel> personal;      // null: the plan asks for none
  std::unique_ptr<SiteControlVariate> control;  // null: another rule
  Digest layout_digest;                         // of what travels
  std::unique_ptr<FeatureCache> cache;  // null: nothing is cached on disk
  std::optional<SessionStores> stores;
  std::optional<HeadSolving> solving;       // none: the plan has no solver
  std::optional<EwcRun> ewc;                // none: the plan asks for none
  std::optional<RunStatistics> statistics;  // none: the plan gathers none
  std::optional<RecordWeights> weights;     // none: the plan never weighs
  std::optional<ShiftLook> look;            // none: the plan has no looks
  std::optional<AloneModel> alone;          // while comparisons follow

  State(SessionConfig config, const Clock& clock)
      : config(std::move(config)), clock(clock) {}

  absl::Status SetUp();
  absl::Status SetUpState(const SafetensorsFile& backbone);
  absl::Status CheckLabels() const;
  // The parameters of a trainable set.
  absl::StatusOr<ParameterVector> ReadModel(const std::string& path) const;
  absl::Status LoadLocal(int round);
  absl::Status SaveLocal(int round);
  absl::StatusOr<ParameterVector> Delta(ParameterVector before);
  // Sees to the run's start for EWC; `model` is what this site trains from now.
  absl::Status PrepareEwc(const ParameterVector& model,
                          const ActivationStore& store, bool is_alone,
                          const ProgressSink& progress);
  absl::StatusOr<Trained> RunTrain(const Train& task,
                                   const ProgressSink& progress);
  absl::StatusOr<uint64_t> RunGather(const Gather& task,
                                     const ProgressSink& progress);
  absl::StatusOr<Sketched> RunSketch(const Sketch& task,
                                     const ProgressSink& progress);
  // The model as this site applies it: with its local tensors, and the head
  // localised. For a model after `round` rounds of training.
  absl::Status ApplyModel(ParameterVector model, int round,
                          const ProgressSink& progress);
  absl::StatusOr<Evaluated> RunEvaluate(const Evaluate& task,
                                        const ProgressSink& progress);
  // Of the backbone as the learner has it now against that of `initial`, whose
  // values it has afterwards.
  absl::StatusOr<std::map<std::string, double>> DriftFrom(
      const ParameterVector& initial);
  absl::Status SetInitial(const ParameterVector& initial);
  // Trains `rounds` rounds from `initial` as if there were no other site.
  absl::Status TrainAlone(ParameterVector initial, int rounds,
                          const ProgressSink& progress);
  // One round with this task's weights of records.
  absl::StatusOr<Trained> TrainShared(const Train& task,
                                      const ActivationStore& store,
                                      const ProgressSink& progress);
  // Whether the site has a model of its own after `round` rounds.
  absl::StatusOr<bool> HasPersonal(int round) const;
};

}  // namespace fedgraft
