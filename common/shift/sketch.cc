#include "common/shift/sketch.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::StatusOr<Sketch> Sketch::Create(const SketchSpec& spec) {
  FG_RETURN_IF_ERROR(spec.Check());
  return Sketch(spec);
}

const SketchProjection& Sketch::projection() const {
  if (projection_ == nullptr) {
    auto made = SketchProjection::Create(spec_);
    FG_CHECK(made.ok());  // a spec that Check lets through has one
    projection_ = std::make_shared<const SketchProjection>(*std::move(made));
  }
  return *projection_;
}

absl::Status Sketch::Add(absl::Span<const double> pooled) {
  FG_CHECK(!done_);
  FG_RETURN_IF_ERROR(
      CheckSketch(layout_, pooled, kSketchSitesMin, spec_.noise_multiplier));
  switch (stage()) {
    case SketchStage::kMoments: {
      FG_ASSIGN_OR_RETURN(SketchSpace space,
                          SketchSpace::Create(spec_, layout_, pooled));
      space_.emplace(std::move(space));
      head_.emplace(spec_.num_classes, space_->head_dims());
      layout_ = SketchLayout(spec_, SketchStage::kHead, space_->dims(),
                             space_->head_dims());
      break;
    }
    case SketchStage::kHead:
      FG_RETURN_IF_ERROR(
          head_->Add(SketchValues(layout_, pooled, "loss")[0],
                     SketchValues(layout_, pooled, "gradient"),
                     SketchValues(layout_, pooled, "information")));
      if (head_->done()) {
        layout_ = SketchLayout(spec_, SketchStage::kSummary, space_->dims(),
                               space_->head_dims());
      }
      break;
    case SketchStage::kSummary:
      summary_.assign(pooled.begin(), pooled.end());
      done_ = true;
      break;
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
