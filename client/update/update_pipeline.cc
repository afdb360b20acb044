#include "client/update/update_pipeline.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "client/update/payload_builder.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/config/rule_facts.h"
#include "common/model/evaluation_layout.h"
#include "common/numeric/fed_nova.h"
#include "common/numeric/ring_codec.h"
#include "common/solve/solve_statistics.h"
#include "common/statistics/start_statistics.h"

namespace fedgraft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the trainer's file is read as it lies on disk");

double L2Norm(const ParameterVector& values) {
  return std::sqrt(SquaredNorm(values));
}

double ErrorRms(const UpdatePayloadHead& head, double squared_error) {
  if (head.count == 0) return 0;
  return std::sqrt(squared_error / static_cast<double>(head.count)) *
         head.ring.Step() / WeightOfWord(head.weight_word);
}

// "layer4.1.conv2.weight[17]" for a flat index.
std::string ElementName(const ParameterLayout& layout, int64_t flat) {
  const auto& tensors = layout.tensors();
  for (size_t i = tensors.size(); i-- > 0;) {
    if (layout.Offset(i) <= flat) {
      return absl::StrCat(tensors[i].name, "[", flat - layout.Offset(i), "]");
    }
  }
  return absl::StrCat("[", flat, "]");
}

// Running statistics are no work of the steps.
void ScaleParameters(const ParameterLayout& layout, double factor,
                     ParameterVector& values) {
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout.tensors()[t];
    if (tensor.kind != TensorKind::kWeight) continue;
    const auto begin = static_cast<size_t>(layout.Offset(t));
    const size_t end = begin + static_cast<size_t>(tensor.Count());
    for (size_t i = begin; i < end; ++i) {
      values[i] = static_cast<float>(values[i] * factor);
    }
  }
}

// Fewer grid steps would be a wrong factor of everybody's update.
constexpr double kExtraStepsMin = 16;

// What follows the parameters (common/config/rule_facts.h). INVALID_ARGUMENT:
// a number beyond the grid, which may not be cut like an update's value, or too
// small for it.
absl::StatusOr<std::vector<float>> ExtraValues(const Plan& plan,
                                               uint64_t samples) {
  if (ExtraWords(plan.rule) == 0) return std::vector<float>();
  const double steps = NovaSteps(plan, samples);
  const double sent = steps * SiteWeight(plan, samples);
  FG_ASSIGN_OR_RETURN(const RingSpec ring, TrainRing(plan));
  if (sent < kExtraStepsMin * ring.Step()) {
    return absl::InvalidArgumentError(
        absl::StrCat(samples, " images make ", sent / ring.Step(),
                     " steps of the grid for rule fed_nova; expected at least ",
                     kExtraStepsMin,
                     ": the plan needs a larger update.word_bits or a smaller "
                     "update.weight_cap"));
  }
  if (sent <= plan.update.range) {
    return std::vector<float>{static_cast<float>(steps)};
  }
  return absl::InvalidArgumentError(absl::StrCat(
      samples, " images make ", steps, " times the steps of ",
      plan.update.weight_cap, "; expected at most update.range, ",
      plan.update.range, ": the plan needs a larger update.weight_cap"));
}

}  // namespace

absl::StatusOr<RawUpdate> RawUpdate::Create(
    std::shared_ptr<const ParameterLayout> layout, ParameterVector delta,
    uint64_t samples) {
  if (static_cast<int64_t>(delta.size()) != layout->Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("update has ", delta.size(),
                     " values, the trainable set has ", layout->Count()));
  }
  if (samples == 0) {
    return absl::InvalidArgumentError("update was trained on 0 images");
  }
  // A finite float's square is a finite double, so the sum tells.
  const bool finite = std::isfinite(SquaredNorm(delta));
  for (size_t i = 0; !finite && i < delta.size(); ++i) {
    if (!std::isfinite(delta[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("update is not finite at ",
                       ElementName(*layout, static_cast<int64_t>(i)), ": ",
                       delta[i], "; nothing was sent"));
    }
  }
  return RawUpdate(std::move(layout), std::move(delta), samples);
}

absl::StatusOr<RawUpdate> ReadRawUpdate(
    FileStore& files, std::string_view path,
    std::shared_ptr<const ParameterLayout> layout, uint64_t samples) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  const uint64_t expected =
      static_cast<uint64_t>(layout->Count()) * sizeof(float);
  if (file->size_bytes() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's update ", std::string(path), " has ",
                     file->size_bytes(), " bytes, expected ", expected));
  }
  ParameterVector delta(static_cast<size_t>(layout->Count()));
  FG_RETURN_IF_ERROR(file->ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(delta.data()), expected)));
  return RawUpdate::Create(std::move(layout), std::move(delta), samples);
}

ClippedUpdate ClippedUpdate::Clip(RawUpdate&& raw, const Plan& plan) {
  const double clip_norm = plan.update.clip_norm;
  ClippedUpdate clipped(std::move(raw), 0);
  ParameterVector& delta = clipped.raw_.delta_;
  if (ExtraWords(plan.rule) > 0) {
    ScaleParameters(clipped.raw_.layout(),
                    1 / NovaSteps(plan, clipped.raw_.samples()), delta);
  }
  clipped.norm_before_ = clipped.norm_after_ = L2Norm(delta);
  if (!(clip_norm > 0) || clipped.norm_before_ <= clip_norm) return clipped;
  const double scale = clip_norm / clipped.norm_before_;
  for (float& v : delta) v = static_cast<float>(v * scale);
  clipped.norm_after_ = L2Norm(delta);
  return clipped;
}

absl::StatusOr<EvaluationSums> EvaluationSums::Create(
    const Plan& plan, std::vector<double> sums) {
  const int64_t expected = EvaluationLayout(plan.num_classes()).Count();
  if (static_cast<int64_t>(sums.size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("evaluation has ", sums.size(), " sums, ",
                     plan.num_classes(), " classes make ", expected));
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!std::isfinite(sums[i]) || sums[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("evaluation sum ", i,
                       " must be finite and not negative, got ", sums[i]));
    }
  }
  return EvaluationSums(std::move(sums));
}

absl::StatusOr<SolveSums> SolveSums::Create(SolvePoint point,
                                            std::vector<double> sums) {
  const SolveLayout layout(point);
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("solve task has ", sums.size(),
                     " sums, its point asks for ", layout.count()));
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!std::isfinite(sums[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "solve sum ", i, " is not finite: ", sums[i], "; nothing was sent"));
    }
  }
  return SolveSums(std::move(point), std::move(sums));
}

absl::StatusOr<SolveSums> ReadSolveSums(FileStore& files, std::string_view path,
                                        SolvePoint point) {
  FG_ASSIGN_OR_RETURN(const auto file, files.OpenRead(path));
  const uint64_t expected =
      static_cast<uint64_t>(SolveLayout(point).count()) * sizeof(double);
  if (file->size_bytes() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's sums ", std::string(path), " have ",
                     file->size_bytes(), " bytes, expected ", expected));
  }
  std::vector<double> sums(expected / sizeof(double));
  FG_RETURN_IF_ERROR(file->ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(sums.data()), expected)));
  return SolveSums::Create(std::move(point), std::move(sums));
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromUpdate(
    ClippedUpdate&& clipped, const Plan& plan, uint64_t rounding_seed) {
  if (plan.differential_privacy.kind != DifferentialPrivacy::kNone) {
    return absl::InternalError(
        "an update with differential privacy was not charged");
  }
  return Quantized(std::move(clipped), plan, rounding_seed);
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::Quantized(
    ClippedUpdate&& clipped, const Plan& plan, uint64_t rounding_seed) {
  const ClippedUpdate update = std::move(clipped);
  const ParameterVector& delta = update.raw().delta();
  UpdatePayloadHead head;
  FG_ASSIGN_OR_RETURN(head.ring, TrainRing(plan));
  FG_ASSIGN_OR_RETURN(const std::vector<float> extra,
                      ExtraValues(plan, update.raw().samples()));
  head.count = delta.size() + extra.size();
  head.weight_word = WeightWord(SiteWeight(plan, update.raw().samples()));
  // What the aggregator divides by.
  const double weight = WeightOfWord(head.weight_word);
  head.layout = update.raw().layout().digest();
  const bool stochastic = plan.update.rounding == Rounding::kStochastic;
  const auto quantize = [&](uint64_t begin,
                            uint64_t count) -> absl::StatusOr<QuantizeResult> {
    const auto values = absl::MakeConstSpan(delta).subspan(
        std::min<uint64_t>(begin, delta.size()), count);
    FG_ASSIGN_OR_RETURN(
        QuantizeResult slice,
        stochastic ? QuantizeStochastically(head.ring, MaxTerms(plan), values,
                                            weight, {rounding_seed, begin})
                   : Quantize(head.ring, MaxTerms(plan), values, weight));
    if (values.size() == count) return slice;
    // A factor of everybody's update: to nearest, whatever the plan says.
    FG_ASSIGN_OR_RETURN(const QuantizeResult last,
                        Quantize(head.ring, MaxTerms(plan), extra, weight));
    slice.words.insert(slice.words.end(), last.words.begin(), last.words.end());
    slice.saturated += last.saturated;
    return slice;
  };
  double squared_error = 0;
  FG_ASSIGN_OR_RETURN(Bytes payload,
                      BuildPayload(head, quantize, &squared_error));
  return QuantizedUpdate(head, std::move(payload),
                         ErrorRms(head, squared_error));
}

MaskedUpdate MaskedUpdate::Mask(QuantizedUpdate&& update,
                                const MaskedInput& masks) {
  QuantizedUpdate taken = std::move(update);
  UpdatePayloadHead head = taken.head_;
  head.weight_word = masks.MaskWeight(head.weight_word);
  head.saturated = 0;
  const Bytes encoded = EncodeUpdateHead(head);
  std::copy(encoded.begin(), encoded.end(), taken.payload_.begin());
  masks.MaskWords(
      head.ring.word_bits, head.count,
      absl::MakeSpan(taken.payload_).subspan(UpdatePayloadHead::kBytes));
  return MaskedUpdate(std::move(taken.payload_));
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromSums(EvaluationSums&& sums,
                                                          const Plan& plan) {
  const EvaluationSums taken = std::move(sums);
  UpdatePayloadHead head;
  head.ring = EvaluationRing();
  head.count = taken.values().size();
  head.weight_word = uint64_t{1} << kWeightFractionBits;
  const auto quantize = [&](uint64_t begin, uint64_t count) {
    return QuantizeDoubles(
        head.ring, MaxTerms(plan),
        absl::MakeConstSpan(taken.values()).subspan(begin, count));
  };
  double squared_error = 0;
  FG_ASSIGN_OR_RETURN(Bytes payload,
                      BuildPayload(head, quantize, &squared_error));
  return QuantizedUpdate(head, std::move(payload),
                         ErrorRms(head, squared_error));
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromSolveSums(
    SolveSums&& sums, const Plan& plan) {
  const SolveSums taken = std::move(sums);
  FG_ASSIGN_OR_RETURN(
      const std::vector<uint64_t> words,
      PackSolveSums(taken.point(), MaxTerms(plan), taken.values()));
  return FromExactWords(SolveRing(), words);
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromStatistics(
    StatisticSums&& sums) {
  const StatisticSums taken = std::move(sums);
  return FromExactWords(StatisticsRing(), taken.words());
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromSketch(SketchSums&& sums) {
  const SketchSums taken = std::move(sums);
  return FromExactWords(StatisticsRing(), taken.words());
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::FromExactWords(
    const RingSpec& ring, const std::vector<uint64_t>& words) {
  UpdatePayloadHead head;
  head.ring = ring;
  head.count = words.size();
  head.weight_word = uint64_t{1} << kWeightFractionBits;
  const auto slice_of = [&](uint64_t begin, uint64_t count) {
    const auto slice = absl::MakeConstSpan(words).subspan(begin, count);
    return absl::StatusOr<QuantizeResult>(
        QuantizeResult{{slice.begin(), slice.end()}, 0, 0});
  };
  FG_ASSIGN_OR_RETURN(Bytes payload, BuildPayload(head, slice_of));
  return QuantizedUpdate(head, std::move(payload));
}

}  // namespace fedgraft
