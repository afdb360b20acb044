#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/shift/pooled_head.h"
#include "common/shift/sketch_layout.h"
#include "common/shift/sketch_space.h"

namespace fedgraft {

// Where a sketch stands: which sums come next, and what followed from the
// pooled ones so far. Sites and aggregator that add the same sums are at the
// same place; none needs to be told.
//
//   while (!sketch.done()) {
//     sums of every site by sketch.layout() -> words -> total -> sums
//     sketch.Add(sums)
//   }
//
// Not thread-safe.
class Sketch {
 public:
  // INVALID_ARGUMENT: a spec that Check refuses.
  static absl::StatusOr<Sketch> Create(const SketchSpec& spec);

  const SketchSpec& spec() const { return spec_; }
  SketchStage stage() const { return layout_.stage(); }
  const SketchLayout& layout() const { return layout_; }
  // Pooled sums of this stage. INVALID_ARGUMENT: what CheckSketch refuses, or
  // fewer than kSketchSitesMin sites; then nothing changes.
  // FAILED_PRECONDITION: features that do not vary, or a head that stays open.
  // REQUIRES: not done.
  absl::Status Add(absl::Span<const double> pooled);
  bool done() const { return done_; }

  // Made at the first call, which takes some milliseconds; copies that are made
  // after it have it.
  const SketchProjection& projection() const;
  // REQUIRES: past kMoments.
  const SketchSpace& space() const { return *space_; }
  const PooledHead& head() const { return *head_; }
  // Of kSummary, pooled. REQUIRES: done.
  absl::Span<const double> summary() const { return summary_; }

 private:
  explicit Sketch(const SketchSpec& spec)
      : spec_(spec), layout_(spec, SketchStage::kMoments, 0, 0) {}
  SketchSpec spec_;
  mutable std::shared_ptr<const SketchProjection> projection_;
  SketchLayout layout_;
  std::optional<SketchSpace> space_;
  std::optional<PooledHead> head_;
  std::vector<double> summary_;
  bool done_ = false;
};

}  // namespace fedgraft
