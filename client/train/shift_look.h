#pragma once

#include <torch/torch.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/site_sketch.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/learner.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/runtime/file_store.h"
#include "common/shift/look.h"

namespace fedgraft {

// A site's part in a look at shift (common/shift/look.h): its sums for each
// stage, and in the last the tests of its training records against all other
// sites'. Records are compared by the features that the head gets and by the
// model's own outputs.
//
// Not thread-safe. May throw c10::Error.
class ShiftLook {
 public:
  // What is given outlives it. `files` may be null: then every look counts all
  // records as new.
  ShiftLook(const Plan& plan, Learner& learner, const Compute& compute,
            FileStore* files)
      : plan_(plan), learner_(learner), compute_(compute), files_(files) {}

  // For the stage that follows what `pooled` holds (empty: the first), with the
  // learner as the site applies the model. Returns the sums, and in the last
  // stage what was found (common/shift/shift_tests.h). FAILED_PRECONDITION:
  // too few records. INVALID_ARGUMENT: `pooled` is no such message.
  struct Answer {
    std::vector<double> sums;
    std::map<std::string, double> scalars;
  };
  absl::StatusOr<Answer> Sums(const ActivationStore& store, ByteSpan pooled,
                              const ProgressSink& progress);

 private:
  // Features and outputs of the records, for all stages of one look.
  absl::Status TakeRecords(const ActivationStore& store,
                           const ProgressSink& progress);
  // How many of the records the look before did not have, as they are now
  // represented: 0 or all. Remembers them.
  absl::StatusOr<int64_t> CountNew();

  const Plan& plan_;
  Learner& learner_;
  const Compute& compute_;
  FileStore* const files_;
  torch::Tensor features_, outputs_;  // [n, d], [n, C], F64
  std::vector<double> acquisition_;   // [n, kAcquisitions]; empty: no images
  std::vector<int64_t> labels_;
};

}  // namespace fedgraft
