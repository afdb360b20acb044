#include "client/update/update_pipeline.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
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

absl::Status NotFinite(const ParameterLayout& layout, uint64_t begin,
                       absl::Span<const float> slice) {
  const auto bad = std::find_if_not(slice.begin(), slice.end(),
                                    [](float v) { return std::isfinite(v); });
  const auto flat = static_cast<int64_t>(begin) + (bad - slice.begin());
  return absl::InvalidArgumentError(
      absl::StrCat("update is not finite at ", ElementName(layout, flat), ": ",
                   *bad, "; nothing was sent"));
}

// The values of a pass, one slice after another.
template <typename Use>
absl::Status ForEachSlice(uint64_t count, Use use) {
  ParameterVector slice(std::min(count, kPassValues));
  for (uint64_t begin = 0; begin < count; begin += kPassValues) {
    FG_RETURN_IF_ERROR(use(begin, absl::MakeSpan(slice).first(
                                      std::min(kPassValues, count - begin))));
  }
  return absl::OkStatus();
}

void Scale(double factor, absl::Span<float> values) {
  for (float& value : values) value = static_cast<float>(value * factor);
}

// Of a slice from `begin`. Running statistics are no work of the steps.
void ScaleParameters(const ParameterLayout& layout, double factor,
                     uint64_t begin, absl::Span<float> values) {
  const uint64_t end = begin + values.size();
  for (size_t t = 0; t < layout.tensors().size(); ++t) {
    const TensorSpec& tensor = layout.tensors()[t];
    const auto offset = static_cast<uint64_t>(layout.Offset(t));
    const uint64_t from = std::max(begin, offset);
    const uint64_t to =
        std::min(end, offset + static_cast<uint64_t>(tensor.Count()));
    if (tensor.kind != TensorKind::kWeight || from >= to) continue;
    Scale(factor, values.subspan(from - begin, to - from));
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
    std::shared_ptr<const ParameterLayout> layout, UpdateValues delta,
    uint64_t samples) {
  if (static_cast<int64_t>(delta.count()) != layout->Count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("update has ", delta.count(),
                     " values, the trainable set has ", layout->Count()));
  }
  if (samples == 0) {
    return absl::InvalidArgumentError("update was trained on 0 images");
  }
  RawUpdate raw(std::move(layout), std::move(delta), samples);
  FG_RETURN_IF_ERROR(ForEachSlice(
      raw.delta_.count(), [&](uint64_t begin, absl::Span<float> slice) {
        FG_RETURN_IF_ERROR(raw.delta_.Read(begin, slice));
        const float largest = LargestMagnitude(slice);
        if (!std::isfinite(largest)) {
          return NotFinite(raw.layout(), begin, slice);
        }
        raw.largest_ = std::max(raw.largest_, largest);
        raw.squared_norm_ += SquaredNorm(slice);
        return absl::OkStatus();
      }));
  return raw;
}

absl::StatusOr<RawUpdate> RawUpdate::Create(
    std::shared_ptr<const ParameterLayout> layout, ParameterVector delta,
    uint64_t samples) {
  return Create(std::move(layout), UpdateValues(std::move(delta)), samples);
}

absl::StatusOr<RawUpdate> ReadRawUpdate(
    FileStore& files, std::string_view path,
    std::shared_ptr<const ParameterLayout> layout, uint64_t samples) {
  FG_ASSIGN_OR_RETURN(std::shared_ptr<const ReadableFile> file,
                      files.OpenRead(path));
  const auto count = static_cast<uint64_t>(layout->Count());
  const uint64_t expected = count * sizeof(float);
  if (file->size_bytes() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the trainer's update ", std::string(path), " has ",
                     file->size_bytes(), " bytes, expected ", expected));
  }
  return RawUpdate::Create(std::move(layout),
                           UpdateValues(std::move(file), count), samples);
}

absl::StatusOr<ClippedUpdate> ClippedUpdate::Clip(RawUpdate&& raw,
                                                  const Plan& plan) {
  ClippedUpdate clipped(std::move(raw));
  clipped.norm_before_ = std::sqrt(clipped.raw_.squared_norm_);
  if (ExtraWords(plan.rule) > 0) {
    clipped.step_factor_ = 1 / NovaSteps(plan, clipped.samples());
    FG_ASSIGN_OR_RETURN(clipped.norm_before_, clipped.MeasureNorm());
  }
  const double clip_norm = plan.update.clip_norm;
  if (clip_norm > 0 && clipped.norm_before_ > clip_norm) {
    clipped.clip_factor_ = clip_norm / clipped.norm_before_;
  }
  return clipped;
}

double ClippedUpdate::magnitude_max() const {
  // Each factor rounds to a float.
  constexpr double kRounding = 1 + 1e-6;
  return static_cast<double>(raw_.largest_) * std::max(1.0, step_factor_) *
         clip_factor_ * kRounding;
}

absl::StatusOr<double> ClippedUpdate::MeasureNorm() const {
  double squares = 0;
  FG_RETURN_IF_ERROR(ForEachSlice(raw_.delta().count(),
                                  [&](uint64_t begin, absl::Span<float> slice) {
                                    FG_RETURN_IF_ERROR(Read(begin, slice));
                                    squares += SquaredNorm(slice);
                                    return absl::OkStatus();
                                  }));
  return std::sqrt(squares);
}

absl::Status ClippedUpdate::Read(uint64_t begin, absl::Span<float> out) const {
  FG_RETURN_IF_ERROR(raw_.delta().Read(begin, out));
  if (step_factor_ != 1) {
    ScaleParameters(raw_.layout(), step_factor_, begin, out);
  }
  if (clip_factor_ != 1) Scale(clip_factor_, out);
  return absl::OkStatus();
}

absl::StatusOr<ParameterVector> ClippedUpdate::ReadAll() const {
  ParameterVector values(raw_.delta().count());
  FG_RETURN_IF_ERROR(Read(0, absl::MakeSpan(values)));
  return values;
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
    ClippedUpdate&& clipped, const Plan& plan, uint64_t rounding_seed,
    bool has_news) {
  if (plan.differential_privacy.kind != DifferentialPrivacy::kNone) {
    return absl::InternalError(
        "an update with differential privacy was not charged");
  }
  return Quantized(std::move(clipped), plan, rounding_seed, has_news);
}

absl::StatusOr<QuantizedUpdate> QuantizedUpdate::Quantized(
    ClippedUpdate&& clipped, const Plan& plan, uint64_t rounding_seed,
    bool has_news) {
  UpdatePayloadHead head;
  FG_ASSIGN_OR_RETURN(head.ring, TrainRing(plan));
  FG_ASSIGN_OR_RETURN(std::vector<float> extra,
                      ExtraValues(plan, clipped.samples()));
  const auto parameters = static_cast<uint64_t>(clipped.layout().Count());
  head.count = parameters + extra.size();
  head.weight_word = WeightWord(SiteWeight(plan, clipped.samples()));
  if (has_news) head.weight_word = WithNews(head.weight_word);
  head.layout = clipped.layout().digest();
  const double clipped_max = clipped.magnitude_max();
  const bool extra_is_empty = extra.empty();
  PayloadSource::Quantize quantize =
      [update = std::make_shared<const ClippedUpdate>(std::move(clipped)),
       extra = std::move(extra), parameters, ring = head.ring,
       max_terms = MaxTerms(plan), rounding_seed,
       is_stochastic = plan.update.rounding == Rounding::kStochastic,
       // What the aggregator divides by.
       weight = WeightOfWord(head.weight_word)](
          uint64_t begin, uint64_t count) -> absl::StatusOr<QuantizeResult> {
    ParameterVector values(
        std::min(count, parameters - std::min(begin, parameters)));
    FG_RETURN_IF_ERROR(
        update->Read(std::min(begin, parameters), absl::MakeSpan(values)));
    FG_ASSIGN_OR_RETURN(
        QuantizeResult slice,
        is_stochastic ? QuantizeStochastically(ring, max_terms, values, weight,
                                               {rounding_seed, begin})
                      : Quantize(ring, max_terms, values, weight));
    if (values.size() == count) return slice;
    // A factor of everybody's update: to nearest, whatever the plan says.
    FG_ASSIGN_OR_RETURN(
        const QuantizeResult last,
        Quantize(ring, max_terms,
                 absl::MakeConstSpan(extra).subspan(
                     begin + values.size() - parameters, count - values.size()),
                 weight));
    slice.words.insert(slice.words.end(), last.words.begin(), last.words.end());
    slice.saturated += last.saturated;
    return slice;
  };
  const double largest =
      clipped_max * WeightOfWord(head.weight_word) / head.ring.Step();
  const bool may_saturate =
      !extra_is_empty ||
      largest + 1 > static_cast<double>(head.ring.TermMax(MaxTerms(plan)));
  auto pack = PayloadSource::Packing(head, std::move(quantize));
  if (may_saturate) {
    // The head is sealed first, so it has to be known by then.
    FG_ASSIGN_OR_RETURN(const QuantizeTotals totals,
                        PayloadSource(head, pack).Totals());
    head.saturated = totals.saturated;
  }
  return QuantizedUpdate(PayloadSource(head, std::move(pack)));
}

MaskedUpdate MaskedUpdate::Mask(QuantizedUpdate&& update, MaskedInput masks) {
  const PayloadSource plain = std::move(update.payload_);
  UpdatePayloadHead head = plain.head();
  head.weight_word = masks.MaskWeight(head.weight_word);
  head.saturated = 0;
  auto pack =
      [plain, word_bits = head.ring.word_bits,
       masks = std::make_shared<const MaskedInput>(std::move(masks))](
          uint64_t begin, uint64_t count,
          absl::Span<uint8_t> packed) -> absl::StatusOr<QuantizeTotals> {
    FG_ASSIGN_OR_RETURN(const QuantizeTotals totals,
                        plain.PackWords(begin, count, packed));
    masks->MaskWords(word_bits, begin, count, packed);
    return totals;
  };
  return MaskedUpdate(PayloadSource(head, std::move(pack)));
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
  FG_ASSIGN_OR_RETURN(PayloadSource payload,
                      PayloadSource::Packed(head, quantize));
  return QuantizedUpdate(std::move(payload));
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
  FG_ASSIGN_OR_RETURN(PayloadSource payload,
                      PayloadSource::Packed(head, slice_of));
  return QuantizedUpdate(std::move(payload));
}

}  // namespace fedgraft
