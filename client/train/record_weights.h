#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/shift/site_sketch.h"
#include "common/config/plan.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"
#include "common/shift/sketch.h"

namespace fedgraft {

// Weights of a site's training records, found at the site from the newest
// complete look at shift (docs/shift.md, "Remedies"):
//
//   importance  as if its features were distributed as all sites' together
//   prior       as if its classes were as common as at all sites together
//
// Of mean 1. They are kept in the site's files, so that a trainer that begins
// anew has them, and never leave it. Not thread-safe.
class RecordWeights {
 public:
  // Whether the plan may ever weigh records.
  static bool Covers(const Plan& plan);

  // What is given outlives it. `files` may be null: nothing is kept then.
  RecordWeights(const Plan& plan, FileStore* files)
      : plan_(plan), files_(files) {}

  // From a look that is complete and the site's own part in it.
  absl::Status Take(const Sketch& sketch, const SiteSketch& site);

  // For one round of training of records with these labels.
  struct Use {
    std::vector<float> weights;  // empty: all 1
    // "record_weights_share": how many of the records the weights leave the
    // worth of; "record_weights_applied": 1, or 0 where too few would be left.
    // Empty: none were asked for, or no look has told of these records.
    std::map<std::string, double> scalars;
  };
  absl::StatusOr<Use> For(SiteRemedy remedy,
                          const std::vector<int64_t>& labels);

 private:
  struct One {
    std::vector<float> weights;  // empty: too few records would be left
    double share = 0;
  };
  struct All {
    Digest labels;
    One importance, prior;
  };
  absl::StatusOr<One> Importance(const Sketch& sketch,
                                 const SiteSketch& site) const;
  absl::StatusOr<One> Prior(const Sketch& sketch, const SiteSketch& site) const;
  absl::Status Save() const;
  // Leaves `all_` empty if there is no file.
  absl::Status Load();

  const Plan& plan_;
  FileStore* const files_;
  std::optional<All> all_;
  bool loaded_ = false;
};

}  // namespace fedgraft
