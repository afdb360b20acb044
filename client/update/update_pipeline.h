#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/secagg/masked_input.h"
#include "client/update/payload_source.h"
#include "client/update/statistic_sums.h"
#include "client/update/update_values.h"
#include "common/base/bytes.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"
#include "common/numeric/update_payload.h"
#include "common/runtime/file_store.h"
#include "common/runtime/random_source.h"
#include "common/solve/solve_point.h"

// What a site computed, on its way out: Raw → Clipped → Quantized, with noise
// if the plan asks for differential privacy → Masked, with secure aggregation →
// Sealed (update_file.h). Each stage is a type of its own that only the step
// before can make, and each step consumes what it is given, so nothing reaches
// the network that skipped a step. Pure functions: safe on any thread. An
// update in the trainer's file passes in slices, while it is sealed: no step
// holds all of it, but for the noise of site privacy.

namespace fedgraft {

class PrivacyCharge;

// Finite differences to the base model, in layout order.
class RawUpdate {
 public:
  // INVALID_ARGUMENT: not as many values as the layout has, no samples, or a
  // value that is not finite (naming tensor and index).
  static absl::StatusOr<RawUpdate> Create(
      std::shared_ptr<const ParameterLayout> layout, ParameterVector delta,
      uint64_t samples);
  // The same; reads all values once.
  static absl::StatusOr<RawUpdate> Create(
      std::shared_ptr<const ParameterLayout> layout, UpdateValues delta,
      uint64_t samples);
  const ParameterLayout& layout() const { return *layout_; }
  const UpdateValues& delta() const { return delta_; }
  uint64_t samples() const { return samples_; }

 private:
  friend class ClippedUpdate;
  RawUpdate(std::shared_ptr<const ParameterLayout> layout, UpdateValues delta,
            uint64_t samples)
      : layout_(std::move(layout)),
        delta_(std::move(delta)),
        samples_(samples) {}
  std::shared_ptr<const ParameterLayout> layout_;
  UpdateValues delta_;
  uint64_t samples_;
  double squared_norm_ = 0;
  float largest_ = 0;  // magnitude
};

// The trainer's file: raw little-endian F32. It stays open and may be removed
// by then. Errors name the file.
absl::StatusOr<RawUpdate> ReadRawUpdate(
    FileStore& files, std::string_view path,
    std::shared_ptr<const ParameterLayout> layout, uint64_t samples);

// L2 norm at most plan.update.clip_norm (0: as it was). With rule fed_nova,
// what one step made, running statistics apart.
class ClippedUpdate {
 public:
  // Errors: those of the trainer's file.
  static absl::StatusOr<ClippedUpdate> Clip(RawUpdate&& raw, const Plan& plan);
  const ParameterLayout& layout() const { return raw_.layout(); }
  uint64_t samples() const { return raw_.samples(); }
  // Clipped values [begin, begin + out.size()).
  absl::Status Read(uint64_t begin, absl::Span<float> out) const;
  absl::StatusOr<ParameterVector> ReadAll() const;
  double l2_norm_before() const { return norm_before_; }
  double l2_norm_after() const { return norm_before_ * clip_factor_; }
  // No value's magnitude is larger.
  double magnitude_max() const;

 private:
  explicit ClippedUpdate(RawUpdate&& raw) : raw_(std::move(raw)) {}
  absl::StatusOr<double> MeasureNorm() const;

  RawUpdate raw_;
  double step_factor_ = 1;  // of parameters, first
  double clip_factor_ = 1;  // of all
  double norm_before_ = 0;
};

// The sums of an evaluate task, in the order of evaluation_layout.h.
class EvaluationSums {
 public:
  // INVALID_ARGUMENT: not as many sums as the plan's classes make, or one that
  // is negative or not finite (naming its index).
  static absl::StatusOr<EvaluationSums> Create(const Plan& plan,
                                               std::vector<double> sums);
  const std::vector<double>& values() const { return sums_; }

 private:
  explicit EvaluationSums(std::vector<double> sums) : sums_(std::move(sums)) {}
  std::vector<double> sums_;
};

// The sums of a solve task, in the order of common/solve/solve_statistics.h.
class SolveSums {
 public:
  // INVALID_ARGUMENT: not as many sums as the point asks for, or one that is
  // not finite (naming its index).
  static absl::StatusOr<SolveSums> Create(SolvePoint point,
                                          std::vector<double> sums);
  const SolvePoint& point() const { return point_; }
  const std::vector<double>& values() const { return sums_; }

 private:
  SolveSums(SolvePoint point, std::vector<double> sums)
      : point_(std::move(point)), sums_(std::move(sums)) {}
  SolvePoint point_;
  std::vector<double> sums_;
};

// The trainer's file: raw little-endian F64. Errors name the file.
absl::StatusOr<SolveSums> ReadSolveSums(FileStore& files, std::string_view path,
                                        SolvePoint point);

// Ring words, packed, behind their head: the plaintext of a sealed update.
class QuantizedUpdate {
 public:
  // Values times the site's weight on the plan's ring, rounded as the plan
  // says: stochastic rounding draws from `rounding_seed` (rounding_seed.h).
  // INTERNAL: the plan asks for differential privacy.
  static absl::StatusOr<QuantizedUpdate> FromUpdate(ClippedUpdate&& clipped,
                                                    const Plan& plan,
                                                    uint64_t rounding_seed,
                                                    bool has_news = false);
  // With differential privacy, once its cost is in the ledger. Record privacy:
  // the trainer has added the noise. Site privacy: discrete Gaussian noise is
  // added here, as integers (common/privacy/site_noise.h). INTERNAL: a charge
  // for another kind of update.
  static absl::StatusOr<QuantizedUpdate> FromPrivateUpdate(
      ClippedUpdate&& clipped, const Plan& plan, const PrivacyCharge& charge,
      uint64_t rounding_seed, RandomSource& random);
  // Weight 1 on the 64-bit evaluation ring.
  static absl::StatusOr<QuantizedUpdate> FromSums(EvaluationSums&& sums,
                                                  const Plan& plan);
  // Weight 1, 64-bit words that are never cut: INVALID_ARGUMENT if a sum is too
  // large for its grid.
  static absl::StatusOr<QuantizedUpdate> FromSolveSums(SolveSums&& sums,
                                                       const Plan& plan);
  // Weight 1, the words as they are.
  static absl::StatusOr<QuantizedUpdate> FromStatistics(StatisticSums&& sums);
  static absl::StatusOr<QuantizedUpdate> FromSketch(SketchSums&& sums);
  const UpdatePayloadHead& head() const { return payload_.head(); }
  const PayloadSource& payload() const { return payload_; }

 private:
  friend class MaskedUpdate;
  static absl::StatusOr<QuantizedUpdate> Quantized(ClippedUpdate&& clipped,
                                                   const Plan& plan,
                                                   uint64_t rounding_seed,
                                                   bool has_news);
  // Words of a ring of 64 bits that nothing was cut from.
  static absl::StatusOr<QuantizedUpdate> FromExactWords(
      const RingSpec& ring, const std::vector<uint64_t>& words);
  explicit QuantizedUpdate(PayloadSource payload)
      : payload_(std::move(payload)) {}
  PayloadSource payload_;
};

// The same with masks on every word and on the weight, and without the count
// of saturated values: alone it says nothing.
class MaskedUpdate {
 public:
  static MaskedUpdate Mask(QuantizedUpdate&& update, MaskedInput masks);
  const PayloadSource& payload() const { return payload_; }

 private:
  explicit MaskedUpdate(PayloadSource payload) : payload_(std::move(payload)) {}
  PayloadSource payload_;
};

}  // namespace fedgraft
