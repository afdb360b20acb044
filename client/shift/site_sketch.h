#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/runtime/random_source.h"
#include "common/shift/devices.h"
#include "common/shift/sketch.h"
#include "common/transfer/matrix_view.h"

namespace fedgraft {

// A site's records, for its sketch. Row i of each is record i.
struct SketchRecords {
  MatrixView features = {};  // [n, d]
  // [n, p], as SketchProjection::Map gives them: instead of `features`.
  MatrixView projected = {};
  absl::Span<const int64_t> labels = {};  // [n]
  MatrixView outputs = {};  // [n, C], the run model's softmax; with has_outputs
  MatrixView acquisition = {};  // [n, kAcquisitions]; with has_acquisition
  // [n], with has_devices; or empty: none is told.
  absl::Span<const DeviceBins> devices = {};
};

// A site's own sums, stage by stage. Holds the records projected, and in the
// common space once that is known. Not thread-safe.
class SiteSketch {
 public:
  // The records outlive it. INVALID_ARGUMENT: sizes, values, labels or outputs
  // that are not what the spec says. FAILED_PRECONDITION: fewer than
  // kSketchRecordsMin records.
  static absl::StatusOr<SiteSketch> Create(const Sketch& sketch,
                                           const SketchRecords& records);

  // For the sketch's current stage, in its layout's order. REQUIRES: the sketch
  // is of the spec that Create saw, and not done.
  absl::StatusOr<std::vector<double>> Sums(const Sketch& sketch);
  // The same as words, with noise of the spec's multiplier (sketch_noise.h).
  // Errors as of Sums and AddSketchNoise. REQUIRES: as of Sums.
  absl::StatusOr<std::vector<uint64_t>> NoisedWords(const Sketch& sketch,
                                                    RandomSource& random);

  int64_t n() const { return static_cast<int64_t>(records_.labels.size()); }
  const SketchRecords& records() const { return records_; }
  // z [n, k] and its image under the random features [n, D]. REQUIRES: Sums was
  // called for kSummary.
  const std::vector<double>& space() const { return space_; }
  const std::vector<double>& embedding() const { return embedding_; }
  // What was returned for kSummary.
  const std::vector<double>& summary() const { return summary_; }
  // What the pooled sums of kSummary hold of it: with noise, if it was added.
  const std::vector<double>& sent() const { return sent_; }

 private:
  SiteSketch(SketchRecords records, std::vector<double> projected)
      : records_(records), projected_(std::move(projected)) {}
  absl::Status EnterSpace(const Sketch& sketch);
  void AddMoments(const SketchLayout& layout, absl::Span<double> sums) const;
  absl::Status AddHead(const Sketch& sketch, absl::Span<double> sums) const;
  absl::Status AddSummary(const Sketch& sketch, absl::Span<double> sums);

  SketchRecords records_;
  std::vector<double> projected_, space_, embedding_, summary_, sent_;
};

// The first `columns` of each row. REQUIRES: no more than there are.
std::vector<double> LeadingColumns(const MatrixView& matrix, int64_t columns);
// The class of the largest output; of equals the first.
int64_t PredictedClass(absl::Span<const double> outputs);
// Of kSketchBins bins from 1 / C to 1 of the largest output.
int ConfidenceBin(absl::Span<const double> outputs);

}  // namespace fedgraft
