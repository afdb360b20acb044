#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/train/exact_head.h"
#include "client/train/session.h"
#include "client/train/session_stores.h"
#include "common/base/digest.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// A session's part in the exact head: solve tasks, and what the site makes of
// the shared head for itself. Takes the frozen features of a split when they
// are first needed.
//
// Not thread-safe. May throw c10::Error.
class HeadSolving {
 public:
  // What is given outlives it. REQUIRES: as ExactHead.
  // `files` may be null.
  HeadSolving(const Plan& plan, Learner& learner, const DataSource& data,
              SessionStores& stores, FileStore* files)
      : head_(plan, learner),
        layout_(learner.layout()),
        data_(data),
        stores_(stores),
        files_(files) {}

  // TrainerSession::RunSolve.
  absl::StatusOr<uint64_t> Answer(const TrainerSession::Solve& task,
                                  const ProgressSink& progress);
  // `model` as this site applies it; kept for later predictions
  // (site_model.h) in place of an earlier one.
  absl::Status Localise(ParameterVector& model, const ProgressSink& progress);
  // `model` with the head that this site's own records give.
  absl::Status SolveAlone(ParameterVector& model, const ProgressSink& progress);

 private:
  // Frozen features of `split`, unless it is empty or they are there.
  absl::Status TakeFeatures(Split split, const ProgressSink& progress);

  absl::Status Keep(const Digest& shared, const ParameterVector& localised);

  ExactHead head_;
  const ParameterLayout& layout_;
  const DataSource& data_;
  SessionStores& stores_;
  FileStore* const files_;
};

}  // namespace fedgraft
