#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/shift/site_sketch.h"
#include "client/train/activation_store.h"
#include "client/train/compute.h"
#include "client/train/learner.h"
#include "client/train/look_records.h"
#include "client/train/record_weights.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/runtime/file_store.h"
#include "common/shift/look.h"

namespace fedgraft {

// A site's part in a look at shift (common/shift/look.h): its sums for each
// stage, and in the last the tests of its training records against all other
// sites'; and between looks, whether there is news. Records are compared by the
// features that the head gets and by the model's own outputs. What a stage
// needs of those before is kept, and found again by a trainer that begins anew
// in the middle.
//
// Not thread-safe. May throw c10::Error.
class ShiftLook {
 public:
  // Gives the learner the values with which this site applies the model.
  using ApplyModel = std::function<absl::Status()>;

  // What is given outlives it. `files` may be null: then every look counts all
  // records as new. `weights` may be null; else a complete look makes them.
  ShiftLook(const Plan& plan, Learner& learner, const Compute& compute,
            FileStore* files, RecordWeights* weights)
      : plan_(plan),
        learner_(learner),
        compute_(compute),
        files_(files),
        weights_(weights) {}

  // Makes what all looks need, some milliseconds of work; else the first look
  // does. Errors as of Look::Create.
  absl::Status Prepare();
  // For the stage that follows what `pooled` holds (empty: the first).
  // `apply_model` is called where the stage looks at the model. Returns the
  // sums, and in the last stage what was found (common/shift/shift_tests.h).
  // FAILED_PRECONDITION: too few records. INVALID_ARGUMENT: `pooled` is no such
  // message.
  struct Answer {
    std::vector<double> sums;
    std::map<std::string, double> scalars;
  };
  absl::StatusOr<Answer> Sums(const ActivationStore& store, ByteSpan pooled,
                              const ApplyModel& apply_model,
                              const ProgressSink& progress);
  // Whether the records, or the way in which they are represented, are not
  // those of the look whose last stage was asked with what has this SHA-256.
  absl::StatusOr<bool> HasNews(const ActivationStore& store,
                               std::string_view compared,
                               const ProgressSink& progress);

 private:
  // Of the records as the newest complete look compared them, and of what that
  // look's last stage was asked with.
  struct Seen {
    std::string records, look;  // SHA-256; empty: none
  };
  // Comes to the stage that follows `pooled`: `look_` and `site_`.
  absl::Status Follow(const ActivationStore& store, ByteSpan pooled,
                      const ApplyModel& apply_model,
                      const ProgressSink& progress);
  absl::StatusOr<LookRecords> ReadRecords(const ActivationStore& store,
                                          bool with_outputs,
                                          const ProgressSink& progress);
  // SHA-256 of the records as they are now represented. Of features that stay
  // the same it is made once.
  absl::StatusOr<std::string> DigestOf(const ActivationStore& store,
                                       const ProgressSink& progress);
  absl::StatusOr<Seen> ReadSeen() const;
  // Not made durable: if it is lost or torn, the next look takes the records
  // for changed and is whole.
  absl::Status WriteSeen(const Seen& seen);
  absl::StatusOr<Answer> Verdicts(const ActivationStore& store, ByteSpan pooled,
                                  const ProgressSink& progress);
  void Drop();

  const Plan& plan_;
  Learner& learner_;
  const Compute& compute_;
  FileStore* const files_;
  RecordWeights* const weights_;
  std::optional<Look> start_;           // of no stage: with its projection
  std::optional<Look> look_;            // that is under way
  std::optional<LookRecords> records_;  // for all of its stages
  std::optional<SiteSketch> site_;      // of these records
  std::string records_digest_;          // of features that stay the same
};

}  // namespace fedgraft
