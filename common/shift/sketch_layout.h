#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

// What sites add up so that each can compare itself with all others: a few
// stages of sums over records. A site sends a stage's sums as 64-bit ring words
// on a grid, so that they are exact and can be masked; the total over sites
// comes back to every site before the next stage.
//
//   kMoments  first and second moments of the features: the common space
//   kHead     (repeated) a Newton step of a pooled logistic head in that space
//   kSummary  the sketch that tests compare with

namespace fedgraft {

// Of layouts and of what follows from the sums; sites with another cannot take
// part.
inline constexpr int kSketchVersion = 3;

inline constexpr int64_t kSketchProjectionMax = 64;  // features that are summed
inline constexpr int64_t kSketchDimsMax = 16;        // of the common space
inline constexpr int64_t kSketchEmbedding = 256;     // random Fourier features
inline constexpr int64_t kSketchUnknownsMax = 512;   // of the pooled head
inline constexpr int kSketchHeadStepsMax = 8;
inline constexpr int kSketchClassesMax = 128;
inline constexpr int kSketchBins = 10;
// Longer vectors are shortened: no record weighs more than this.
inline constexpr double kSketchFeatureNormMax = 1024;
inline constexpr double kSketchSpaceNormMax = 16;
inline constexpr double kSketchLossMax = 700;  // of a record, nats
// A site with fewer records sends nothing.
inline constexpr int64_t kSketchRecordsMin = 20;
// Below, "all others" would be too few to hide a single site.
inline constexpr int kSketchSitesMin = 4;

enum class Acquisition { kBrightness, kContrast, kNoise, kSharpness };
inline constexpr int kAcquisitions = 4;
// Absolute; beyond any image's (client/data/acquisition.h). Cut.
inline constexpr double kAcquisitionMax = 16;

struct SketchSpec {
  int64_t feature_dim = 0;
  int num_classes = 2;
  uint64_t seed = 0;   // of projection and random features, the same everywhere
  int sites_max = 64;  // that sums may have to hold
  // Whether records come with the run model's softmax outputs, with
  // Acquisition numbers, and with the scanners that images come from.
  bool has_outputs = false;
  bool has_acquisition = false;
  bool has_devices = false;
  // Of the noise that sites add (sketch_noise.h); 0: none. Tests take it for a
  // shift if it is not small beside the sums' own chance.
  double noise_multiplier = 0;

  int64_t projected_dim() const {
    return feature_dim < kSketchProjectionMax ? feature_dim
                                              : kSketchProjectionMax;
  }
  // INVALID_ARGUMENT: a number outside its range.
  absl::Status Check() const;
};

enum class SketchStage { kMoments, kHead, kSummary };

enum class SketchPartKind {
  kSites,        // 1 a site
  kRecords,      // the number of records
  kPartition,    // counts that add up to the records, in every group
  kSigned,       // within bound a record
  kNotNegative,  // from 0 to bound a record
  kProducts,     // packed symmetric: as kSigned, diagonal not negative
};

struct SketchPart {
  std::string_view name;
  SketchPartKind kind = SketchPartKind::kSigned;
  int64_t begin = 0, count = 0;
  int64_t groups = 1;      // kPartition: of equal size
  int fraction_bits = 0;   // of the grid
  double bound = 1;        // of one record's contribution to one sum
  double record_norm = 1;  // L2, of one record's contribution to the part
  int64_t dim = 0;         // kProducts
};

// The sums of one stage. `dims`: of the common space, `head_dims` of them are
// the head's (both without meaning for kMoments).
class SketchLayout {
 public:
  SketchLayout(const SketchSpec& spec, SketchStage stage, int64_t dims,
               int64_t head_dims);

  SketchStage stage() const { return stage_; }
  int sites_max() const { return sites_max_; }
  int64_t count() const { return count_; }
  const std::vector<SketchPart>& parts() const { return parts_; }
  // REQUIRES: the stage has the part.
  const SketchPart& Part(std::string_view name) const;
  bool Has(std::string_view name) const;
  // L2 norm of what adding or removing one record changes, with every part
  // divided by its record_norm: the square root of the number of parts that
  // depend on records.
  double ScaledSensitivity() const;

 private:
  void Add(SketchPart part);
  SketchStage stage_;
  int sites_max_;
  int64_t count_ = 0;
  std::vector<SketchPart> parts_;
};

// One part of a stage's sums. REQUIRES: sums has the layout's count.
absl::Span<const double> SketchValues(const SketchLayout& layout,
                                      absl::Span<const double> sums,
                                      std::string_view part);

// One site's sums on the grid: an error of at most 2^-31 a sum (2^-25 for
// products of features). INVALID_ARGUMENT naming part and index: a number of
// sums that is not the layout's, one that is not finite, or so large that
// sites_max such sums do not fit: nothing saturates.
absl::StatusOr<std::vector<uint64_t>> PackSketch(const SketchLayout& layout,
                                                 absl::Span<const double> sums);
// INVALID_ARGUMENT: a number of words that is not the layout's.
absl::StatusOr<std::vector<double>> UnpackSketch(
    const SketchLayout& layout, absl::Span<const uint64_t> words);

// Whether sums of one site or of several may be sums over records: at least
// `sites_min` sites and kSketchRecordsMin records each, counts that add up,
// nothing beyond what its records allow. `noise_multiplier`: of noise that was
// added (sketch_noise.h), which eight deviations of are allowed for.
// INVALID_ARGUMENT naming part, index, what was expected and what came.
absl::Status CheckSketch(const SketchLayout& layout,
                         absl::Span<const double> sums, int sites_min = 1,
                         double noise_multiplier = 0);

}  // namespace fedgraft
