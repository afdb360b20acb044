#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/shift/others_posteriors.h"
#include "client/shift/site_sketch.h"
#include "common/shift/efficient_score.h"
#include "common/shift/sketch.h"

namespace fedgraft {

// What a shift test looks at: a site's own records in the common space, and the
// sums of all other sites (the pooled ones without its own). Nothing in it may
// leave the site but what a test releases. Immutable.
class SiteView {
 public:
  // Both outlive it, and `site` has summed up for every stage of `sketch`,
  // which is done. INVALID_ARGUMENT: pooled sums that cannot hold this site's.
  // FAILED_PRECONDITION: too few other sites.
  static absl::StatusOr<SiteView> Create(const Sketch& sketch,
                                         const SiteSketch& site);

  int64_t n() const { return site_.n(); }
  double others_n() const { return others_[1]; }
  const SketchSpec& spec() const { return sketch_.spec(); }
  absl::Span<const int64_t> labels() const { return site_.records().labels; }
  MatrixView space() const;      // z [n, k]
  MatrixView embedding() const;  // [n, D]
  // What the head sees of z, [n, head_dims].
  MatrixView head_features() const;
  bool Has(std::string_view part) const { return layout_.Has(part); }
  // Sums of kSummary by the name of the part.
  absl::Span<const double> Own(std::string_view part) const;
  absl::Span<const double> Others(std::string_view part) const;
  // Others' sums over others' records.
  std::vector<double> OthersMean(std::string_view part) const;
  // Head of the others' records. FAILED_PRECONDITION: they leave it open.
  const absl::StatusOr<ReferenceHead>& head() const { return head_; }
  // What that head makes of this site's records.
  const absl::StatusOr<OthersPosteriors>& judged() const { return judged_; }

 private:
  SiteView(const Sketch& sketch, const SiteSketch& site)
      : sketch_(sketch), site_(site), layout_(sketch.layout()) {}
  // Normal draws with the mean and covariance of the others' head features;
  // empty if those do not vary.
  std::vector<double> StandIns() const;

  const Sketch& sketch_;
  const SiteSketch& site_;
  const SketchLayout& layout_;
  std::vector<double> others_;
  std::vector<double> head_features_;
  absl::StatusOr<ReferenceHead> head_ = absl::UnknownError("");
  absl::StatusOr<OthersPosteriors> judged_ = absl::UnknownError("");
};

}  // namespace fedgraft
