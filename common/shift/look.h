#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/shift/sketch.h"

namespace fedgraft {

// Of one look, verdicts included.
inline constexpr int kLookStagesMax = kSketchHeadStepsMax + 3;
// Among a round's metrics: a look was due, and nothing has changed.
inline constexpr char kLookUnchanged[] = "shift_unchanged";
// A test with a p-value of at most this says at a site that it differs.
inline constexpr double kVerdictLevel = 0.05;

// A look at shift: the stages of a sketch, then one in which the sites, each of
// which has tested itself against all others, say which of their tests find a
// difference. Every stage is a sum over sites of 64-bit words. What the stages
// have come to is one message (proto/shift.proto), from which site and
// aggregator know where the look stands.
//
// Features that no training changes give the same sums until some site's
// records change. Sites tell with every update whether theirs have, as part of
// a sum (common/numeric/update_payload.h); if at none, the next look that is
// due is left out, and what the one before found still stands.
//
// Not thread-safe.
class Look {
 public:
  // Before the first stage. INVALID_ARGUMENT: a model without a linear head, or
  // what SketchSpec::Check refuses.
  static absl::StatusOr<Look> Create(const Plan& plan,
                                     const ParameterLayout& layout);
  // After the stages in `pooled` (none: empty). INVALID_ARGUMENT: no such
  // message, or sums that Add refuses.
  static absl::StatusOr<Look> Decode(const Plan& plan,
                                     const ParameterLayout& layout,
                                     ByteSpan pooled);
  // Takes the stages that `pooled` has beyond this look's. False, and no
  // change: it is of another look, or lacks stages that this one has. Errors as
  // of Decode; the look is of no further use then.
  absl::StatusOr<bool> Follow(ByteSpan pooled);
  // Canonical bytes of what Add was given.
  Bytes Encode() const;

  const Sketch& sketch() const { return sketch_; }
  const std::vector<std::vector<uint64_t>>& stages() const { return stages_; }
  // The stage under way is the last: the sketch is complete.
  bool asks_verdicts() const { return sketch_.done() && !done_; }
  bool done() const { return done_; }

  // Of the stage under way. REQUIRES: not done.
  int64_t words() const;
  // One site's sums on their grid. INVALID_ARGUMENT: what Check refuses, or
  // numbers that are not finite or do not fit.
  absl::StatusOr<std::vector<uint64_t>> Pack(
      absl::Span<const double> sums) const;
  // Whether these may be one site's words. INVALID_ARGUMENT naming what was
  // expected and what came.
  absl::Status Check(absl::Span<const uint64_t> words) const;
  // The total over sites. INVALID_ARGUMENT: words that no kSketchSitesMin sites
  // or more have. FAILED_PRECONDITION: features that do not vary. The
  // look is of no further use then.
  absl::Status Add(std::vector<uint64_t> words);

  // At how many sites each test found a difference, and of how many:
  // "shift_sites", "shift_sites_<test>", and with shift.devices ScannerMetrics
  // (devices.h). REQUIRES: done.
  std::map<std::string, double> Verdicts() const;

 private:
  explicit Look(Sketch sketch) : sketch_(std::move(sketch)) {}
  Sketch sketch_;
  std::vector<std::vector<uint64_t>> stages_;
  bool done_ = false;
};

// Whether this plan's training leaves the features as they are.
bool HasFrozenFeatures(const Plan& plan);
// Whether its sites tell with their updates if their records have changed.
bool TellsNews(const Plan& plan);

// What a site says in the last stage: 1, then for each test of ShiftTests() 1
// if its p among `scalars` is at most kVerdictLevel.
std::vector<double> VerdictsOf(const std::map<std::string, double>& scalars);

}  // namespace fedgraft
