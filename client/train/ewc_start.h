#pragma once

#include "absl/status/status.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The run's start at a site, for EWC: the trained parameters, and their Fisher
// information on the site's training images. Taken once and kept in `files`, so
// that another process goes on with the same bytes.

// Gives the learner the start that was kept. NOT_FOUND: none was.
absl::Status LoadEwcStart(FileStore& files, Learner& learner);

// Takes the start from the values that the learner has now, keeps it, and gives
// it to the learner. Errors are those of DiagonalFisher and of the files.
absl::Status TakeEwcStart(const Plan& plan, const ActivationStore& data,
                          FileStore& files, Learner& learner,
                          const ProgressSink& progress);

// Keeps this start, with its Fisher information, and gives it to the learner.
// Both name every trained parameter.
absl::Status KeepEwcStart(NamedValues start, NamedValues fisher,
                          FileStore& files, Learner& learner);

}  // namespace fedgraft
