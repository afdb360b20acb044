// The Noised stage: QuantizedUpdate::FromPrivateUpdate.

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/privacy/budget_ledger.h"
#include "client/update/payload_source.h"
#include "client/update/update_pipeline.h"
#include "common/base/status_macros.h"
#include "common/privacy/discrete_gaussian.h"
#include "common/privacy/site_noise.h"

namespace fedgraft {
namespace {

using Wide = unsigned __int128;

int64_t Units(float value, double scale) {
  return static_cast<int64_t>(std::nearbyint(value * scale));
}

Wide SquaredNorm(const ParameterVector& delta, double scale) {
  Wide sum = 0;
  for (const float value : delta) {
    const int64_t units = Units(value, scale);
    const Wide magnitude = static_cast<Wide>(units < 0 ? -units : units);
    sum += magnitude * magnitude;
  }
  return sum;
}

// From values to units, such that the integers' norm is within the bound that
// was accounted for. Floating point clips to within a few parts in 1e7, which
// the allowance for rounding nearly always covers.
absl::StatusOr<double> ScaleWithin(const ParameterVector& delta, double unit,
                                   double norm2_max) {
  constexpr int kAttempts = 16;
  double scale = 1 / unit;
  for (int i = 0; i < kAttempts; ++i) {
    if (SquaredNorm(delta, scale) <= static_cast<Wide>(norm2_max)) return scale;
    scale *= 1 - 1e-6;
  }
  return absl::InternalError(
      "the clipped update is longer than the plan's clip norm");
}

absl::Status CheckCharge(const Plan& plan, const PrivacyCharge& charge,
                         int64_t parameters) {
  const ReleaseCost& cost = charge.cost();
  bool fits = cost.kind == plan.differential_privacy.kind;
  if (cost.kind == DifferentialPrivacy::kSite) {
    FG_ASSIGN_OR_RETURN(const SiteNoise noise, MakeSiteNoise(plan, parameters));
    fits &= cost.sum == SumOf(noise, parameters, cost.sum.contributions);
  }
  if (fits) return absl::OkStatus();
  return absl::InternalError(
      "the charge to the privacy budget is for another kind of update");
}

}  // namespace

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromPrivateUpdate(
    ClippedUpdate&& clipped, const Plan& plan, const PrivacyCharge& charge,
    uint64_t rounding_seed, RandomSource& random) {
  const int64_t parameters = clipped.layout().Count();
  FG_RETURN_IF_ERROR(CheckCharge(plan, charge, parameters));
  // The trainer has added the noise of record privacy.
  if (plan.differential_privacy.kind == DifferentialPrivacy::kRecord) {
    return Quantized(std::move(clipped), plan, rounding_seed,
                     /*has_news=*/false);
  }
  const ClippedUpdate update = std::move(clipped);
  FG_ASSIGN_OR_RETURN(const ParameterVector delta, update.ReadAll());
  FG_ASSIGN_OR_RETURN(const SiteNoise noise, MakeSiteNoise(plan, parameters));
  UpdatePayloadHead head;
  FG_ASSIGN_OR_RETURN(head.ring, TrainRing(plan));
  head.count = delta.size();
  head.weight_word = WeightWord(1);
  head.layout = update.layout().digest();
  FG_ASSIGN_OR_RETURN(
      const double scale,
      ScaleWithin(delta, noise.Unit(head.ring.Step()), noise.norm2_max));
  // Noise that wraps leaves sums modulo the ring as they are; what is seen by
  // itself is cut to what may be summed.
  const bool is_masked = plan.secure_aggregation.is_on;
  const int64_t limit = head.ring.TermMax(MaxTerms(plan)) >> noise.shift;
  DiscreteGaussian gaussian(noise.sigma2, random);
  const auto add_noise = [&](uint64_t begin, uint64_t count) {
    QuantizeResult slice;
    slice.words.reserve(count);
    for (uint64_t i = begin; i < begin + count; ++i) {
      int64_t units = Units(delta[i], scale) + gaussian.Sample();
      if (!is_masked && std::abs(units) > limit) {
        units = units < 0 ? -limit : limit;
        ++slice.saturated;
      }
      slice.words.push_back((static_cast<uint64_t>(units) << noise.shift) &
                            head.ring.Mask());
    }
    return absl::StatusOr<QuantizeResult>(std::move(slice));
  };
  // Drawn once: asked again it would be other noise.
  FG_ASSIGN_OR_RETURN(PayloadSource payload,
                      PayloadSource::Packed(head, add_noise));
  return QuantizedUpdate(std::move(payload));
}

}  // namespace fedgraft
