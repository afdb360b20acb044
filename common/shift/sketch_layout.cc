#include "common/shift/sketch_layout.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/shift/devices.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

constexpr int kSumBits = 30;
constexpr int kProductBits = 24;  // features may be large
constexpr int64_t kFeatureDimMax = 65536;
constexpr int kSitesMax = 4096;
constexpr double kNoiseDeviations = 8;

SketchPart Counts(std::string_view name, int64_t count, int64_t groups = 1) {
  SketchPart part;
  part.name = name;
  part.kind = SketchPartKind::kPartition;
  part.count = count;
  part.groups = groups;
  part.record_norm = std::sqrt(static_cast<double>(groups));
  return part;
}

SketchPart Sums(std::string_view name, int64_t count, double bound,
                double record_norm) {
  SketchPart part;
  part.name = name;
  part.count = count;
  part.fraction_bits = kSumBits;
  part.bound = bound;
  part.record_norm = record_norm;
  return part;
}

SketchPart Products(std::string_view name, int64_t dim, int bits, double norm) {
  SketchPart part = Sums(name, PackedCount(dim), norm, norm);
  part.kind = SketchPartKind::kProducts;
  part.fraction_bits = bits;
  part.dim = dim;
  return part;
}

absl::Status Wrong(const SketchPart& part, int64_t index, double value,
                   std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("sketch ", std::string(part.name), "[", index,
                   "]: expected ", std::string(expected), ", got ", value));
}

// One part of sums over `n` records, each give or take `slack`.
absl::Status CheckPart(const SketchPart& part, absl::Span<const double> values,
                       double n, double slack) {
  if (part.kind == SketchPartKind::kPartition) {
    const int64_t size = part.count / part.groups;
    const double allowed = slack * static_cast<double>(size);
    for (int64_t begin = 0; begin < part.count; begin += size) {
      double sum = 0;
      for (int64_t i = begin; i < begin + size; ++i) {
        if (!(values[i] >= -slack)) {
          return Wrong(part, i, values[i], "0 or more");
        }
        sum += values[i];
      }
      if (!(std::abs(sum - n) <= allowed)) {
        return absl::InvalidArgumentError(absl::StrCat(
            "sketch ", std::string(part.name), ": expected counts that add ",
            "up to the ", n, " records, got ", sum));
      }
    }
    return absl::OkStatus();
  }
  const double most = part.bound * n + slack;
  int64_t diagonal = 0, row = 0;
  for (int64_t i = 0; i < part.count; ++i) {
    const bool at_diagonal =
        part.kind == SketchPartKind::kProducts && i == diagonal;
    if (at_diagonal) diagonal += part.dim - row++;
    const bool signed_value =
        !at_diagonal && part.kind != SketchPartKind::kNotNegative;
    if (!(values[i] <= most && values[i] >= (signed_value ? -most : -slack))) {
      return Wrong(
          part, i, values[i],
          absl::StrCat(signed_value ? "an absolute value of 0 to " : "0 to ",
                       most, " for ", n, " records"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SketchSpec::Check() const {
  const auto outside = [](std::string_view what, int64_t value, int64_t low,
                          int64_t high) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch: expected ", std::string(what), " from ", low,
                     " to ", high, ", not ", value));
  };
  if (feature_dim < 1 || feature_dim > kFeatureDimMax) {
    return outside("features", feature_dim, 1, kFeatureDimMax);
  }
  if (num_classes < 2 || num_classes > kSketchClassesMax) {
    return outside("classes", num_classes, 2, kSketchClassesMax);
  }
  if (!(noise_multiplier >= 0) || !std::isfinite(noise_multiplier)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected noise of 0 or more, not ", noise_multiplier));
  }
  if (sites_max < 1 || sites_max > kSitesMax) {
    return outside("sites", sites_max, 1, kSitesMax);
  }
  return absl::OkStatus();
}

SketchLayout::SketchLayout(const SketchSpec& spec, SketchStage stage,
                           int64_t dims, int64_t head_dims)
    : stage_(stage), sites_max_(spec.sites_max) {
  const int classes = spec.num_classes;
  SketchPart sites;
  sites.name = "sites";
  sites.kind = SketchPartKind::kSites;
  sites.count = 1;
  Add(sites);
  SketchPart records = Counts("records", 1);
  records.kind = SketchPartKind::kRecords;
  Add(records);
  if (stage == SketchStage::kMoments) {
    const double norm = kSketchFeatureNormMax;
    Add(Sums("features", spec.projected_dim(), norm, norm));
    Add(Products("feature_products", spec.projected_dim(), kProductBits,
                 norm * norm));
    if (spec.has_acquisition) {
      const double most = kAcquisitionMax;
      Add(Sums("acquisition", kAcquisitions, most, 2 * most));
      SketchPart squares = Sums("acquisition_squares", kAcquisitions,
                                most * most, 2 * most * most);
      squares.kind = SketchPartKind::kNotNegative;
      squares.fraction_bits = kProductBits;
      Add(squares);
    }
    return;
  }
  // |(1, z)|^2, and the norms of a record's gradient and information.
  const double square = 1 + kSketchSpaceNormMax * kSketchSpaceNormMax;
  const int64_t unknowns = (classes - 1) * (1 + head_dims);
  const double gradient = std::sqrt(2 * square);
  SketchPart loss = Sums("loss", 1, kSketchLossMax, kSketchLossMax);
  loss.kind = SketchPartKind::kNotNegative;
  Add(loss);
  Add(Sums("gradient", unknowns, gradient, gradient));
  Add(Products("information", unknowns, kSumBits, square / 2));
  Add(Counts("class_counts", classes));
  if (stage == SketchStage::kHead) return;
  const double wave = std::sqrt(2.0 / kSketchEmbedding);
  Add(Sums("embedding", kSketchEmbedding, wave, 1));
  Add(Sums("class_embedding", classes * kSketchEmbedding, wave, 1));
  Add(Sums("space", dims, kSketchSpaceNormMax, kSketchSpaceNormMax));
  Add(Products("space_products", dims, kSumBits,
               kSketchSpaceNormMax * kSketchSpaceNormMax));
  if (spec.has_outputs) {
    // By predicted class (row) and label; by predicted class and confidence.
    Add(Counts("confusion", classes * classes));
    Add(Counts("confidence", classes * kSketchBins));
  }
  if (spec.has_acquisition) {
    Add(Counts("acquisition", kAcquisitions * kSketchBins, kAcquisitions));
  }
  if (spec.has_devices) {
    Add(Counts("manufacturer", kManufacturerBins));
    Add(Counts("model", kModelBins));
  }
}

void SketchLayout::Add(SketchPart part) {
  part.begin = count_;
  count_ += part.count;
  parts_.push_back(part);
}

bool SketchLayout::Has(std::string_view name) const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [&](const SketchPart& part) { return part.name == name; });
}

const SketchPart& SketchLayout::Part(std::string_view name) const {
  const auto part =
      std::find_if(parts_.begin(), parts_.end(),
                   [&](const SketchPart& part) { return part.name == name; });
  FG_CHECK(part != parts_.end());
  return *part;
}

double SketchLayout::ScaledSensitivity() const {
  return std::sqrt(static_cast<double>(parts_.size() - 1));
}

absl::Span<const double> SketchValues(const SketchLayout& layout,
                                      absl::Span<const double> sums,
                                      std::string_view part) {
  FG_CHECK(static_cast<int64_t>(sums.size()) == layout.count());
  const SketchPart& found = layout.Part(part);
  return sums.subspan(found.begin, found.count);
}

absl::StatusOr<std::vector<uint64_t>> PackSketch(
    const SketchLayout& layout, absl::Span<const double> sums) {
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected ", layout.count(), " sums, got ", sums.size()));
  }
  std::vector<uint64_t> words(sums.size());
  for (const SketchPart& part : layout.parts()) {
    const double most =
        std::ldexp(1.0, 62 - part.fraction_bits) / layout.sites_max();
    for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
      if (!(std::abs(sums[i]) <= most)) {
        return Wrong(part, i - part.begin, sums[i],
                     absl::StrCat("a finite number of at most ", most));
      }
      words[i] = static_cast<uint64_t>(static_cast<int64_t>(
          std::nearbyint(std::ldexp(sums[i], part.fraction_bits))));
    }
  }
  return words;
}

absl::StatusOr<std::vector<double>> UnpackSketch(
    const SketchLayout& layout, absl::Span<const uint64_t> words) {
  if (static_cast<int64_t>(words.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected ", layout.count(), " words, got ", words.size()));
  }
  std::vector<double> sums(words.size());
  for (const SketchPart& part : layout.parts()) {
    for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
      sums[i] = std::ldexp(static_cast<double>(static_cast<int64_t>(words[i])),
                           -part.fraction_bits);
    }
  }
  return sums;
}

absl::Status CheckSketch(const SketchLayout& layout,
                         absl::Span<const double> sums, int sites_min,
                         double noise_multiplier) {
  if (static_cast<int64_t>(sums.size()) != layout.count()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected ", layout.count(), " sums, got ", sums.size()));
  }
  const double sites = sums[0], n = sums[1];
  if (!(sites >= sites_min && sites <= layout.sites_max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch: expected the sums of ", sites_min, " to ",
                     layout.sites_max(), " sites, got ", sites));
  }
  const double noise = kNoiseDeviations * noise_multiplier *
                       layout.ScaledSensitivity() * std::sqrt(sites);
  if (!(n >= kSketchRecordsMin * sites - noise)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch: expected ", kSketchRecordsMin,
                     " records a site or more, got ", n, " at ", sites));
  }
  for (const SketchPart& part : layout.parts()) {
    if (part.kind == SketchPartKind::kSites ||
        part.kind == SketchPartKind::kRecords) {
      continue;
    }
    // Counts are exact; other sums are rounded at every site.
    const double rounding = part.fraction_bits > 0
                                ? std::ldexp(sites + 1, -part.fraction_bits - 1)
                                : 0;
    const double slack = noise * part.record_norm + rounding;
    FG_RETURN_IF_ERROR(CheckPart(part, sums.subspan(part.begin, part.count),
                                 n + noise, slack));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
