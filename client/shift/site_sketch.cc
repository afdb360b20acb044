#include "client/shift/site_sketch.h"

#include <Eigen/Core>
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/shift/source_outputs.h"
#include "common/base/status_macros.h"
#include "common/shift/logistic_sample.h"
#include "common/shift/sketch_noise.h"
#include "common/transfer/product_sums.h"

namespace fedgraft {
namespace {

absl::Status CheckRows(const MatrixView& matrix, std::string_view name,
                       int64_t rows, int64_t columns) {
  FG_RETURN_IF_ERROR(CheckMatrix(matrix, name));
  if (matrix.rows != rows || matrix.columns != columns) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected ", std::string(name), " of ", rows, " records and ",
        columns, " columns, not ", matrix.rows, " and ", matrix.columns));
  }
  return absl::OkStatus();
}

absl::Span<double> Part(const SketchLayout& layout, absl::Span<double> sums,
                        std::string_view name) {
  const SketchPart& part = layout.Part(name);
  return sums.subspan(part.begin, part.count);
}

void AddColumns(const MatrixView& matrix, absl::Span<double> sums) {
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const absl::Span<const double> row = matrix.Row(r);
    for (int64_t i = 0; i < matrix.columns; ++i) sums[i] += row[i];
  }
}

}  // namespace

absl::StatusOr<SiteSketch> SiteSketch::Create(const Sketch& sketch,
                                              const SketchRecords& records) {
  const SketchSpec& spec = sketch.spec();
  const bool is_projected = records.projected.rows > 0;
  const MatrixView& features =
      is_projected ? records.projected : records.features;
  const int64_t n = features.rows;
  FG_RETURN_IF_ERROR(
      CheckRows(features, "features", n,
                is_projected ? spec.projected_dim() : spec.feature_dim));
  if (n < kSketchRecordsMin) {
    return absl::FailedPreconditionError(absl::StrCat(
        "sketch: expected ", kSketchRecordsMin, " records or more, got ", n));
  }
  if (static_cast<int64_t>(records.labels.size()) != n) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch: expected ", n, " labels, got ", records.labels.size()));
  }
  for (int64_t label : records.labels) {
    if (label < 0 || label >= spec.num_classes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sketch: label ", label, " of ", spec.num_classes, " classes"));
    }
  }
  if (spec.has_outputs) {
    FG_RETURN_IF_ERROR(
        CheckRows(records.outputs, "outputs", n, spec.num_classes));
    FG_RETURN_IF_ERROR(CheckOutputs(records.outputs, spec.num_classes));
  }
  if (spec.has_acquisition) {
    FG_RETURN_IF_ERROR(CheckRows(records.acquisition, "acquisition numbers", n,
                                 kAcquisitions));
  }
  if (spec.has_devices && !records.devices.empty() &&
      static_cast<int64_t>(records.devices.size()) != n) {
    return absl::InvalidArgumentError(absl::StrCat("sketch: expected ", n,
                                                   " scanners or none, got ",
                                                   records.devices.size()));
  }
  std::vector<double> projected;
  if (is_projected) {
    projected.assign(features.values.begin(), features.values.end());
  } else {
    FG_ASSIGN_OR_RETURN(projected, sketch.projection().Map(features));
  }
  return SiteSketch(records, std::move(projected));
}

absl::StatusOr<std::vector<double>> SiteSketch::Sums(const Sketch& sketch) {
  const SketchLayout& layout = sketch.layout();
  std::vector<double> sums(layout.count());
  sums[0] = 1;
  sums[1] = static_cast<double>(n());
  if (layout.stage() == SketchStage::kMoments) {
    AddMoments(layout, absl::MakeSpan(sums));
    return sums;
  }
  FG_RETURN_IF_ERROR(EnterSpace(sketch));
  FG_RETURN_IF_ERROR(AddHead(sketch, absl::MakeSpan(sums)));
  if (layout.stage() == SketchStage::kSummary) {
    FG_RETURN_IF_ERROR(AddSummary(sketch, absl::MakeSpan(sums)));
    summary_ = sums;
    sent_ = sums;
  }
  return sums;
}

absl::StatusOr<std::vector<uint64_t>> SiteSketch::NoisedWords(
    const Sketch& sketch, RandomSource& random) {
  FG_ASSIGN_OR_RETURN(const std::vector<double> sums, Sums(sketch));
  const SketchLayout& layout = sketch.layout();
  FG_ASSIGN_OR_RETURN(std::vector<uint64_t> words, PackSketch(layout, sums));
  FG_RETURN_IF_ERROR(AddSketchNoise(layout, sketch.spec().noise_multiplier,
                                    random, absl::MakeSpan(words)));
  if (layout.stage() == SketchStage::kSummary) {
    FG_ASSIGN_OR_RETURN(sent_, UnpackSketch(layout, words));
  }
  return words;
}

absl::Status SiteSketch::EnterSpace(const Sketch& sketch) {
  if (!space_.empty()) return absl::OkStatus();
  FG_ASSIGN_OR_RETURN(
      space_,
      sketch.space().Map({projected_, n(), sketch.spec().projected_dim()}));
  return absl::OkStatus();
}

void SiteSketch::AddMoments(const SketchLayout& layout,
                            absl::Span<double> sums) const {
  const MatrixView projected{projected_, n(), layout.Part("features").count};
  AddColumns(projected, Part(layout, sums, "features"));
  AddSelfProducts(projected, Part(layout, sums, "feature_products"));
  if (!layout.Has("acquisition")) return;
  const absl::Span<double> first = Part(layout, sums, "acquisition");
  const absl::Span<double> second = Part(layout, sums, "acquisition_squares");
  for (int64_t r = 0; r < n(); ++r) {
    for (int i = 0; i < kAcquisitions; ++i) {
      const double value = CutAcquisition(records_.acquisition.Row(r)[i]);
      first[i] += value;
      second[i] += value * value;
    }
  }
}

absl::Status SiteSketch::AddHead(const Sketch& sketch,
                                 absl::Span<double> sums) const {
  const SketchLayout& layout = sketch.layout();
  for (int64_t label : records_.labels) {
    Part(layout, sums, "class_counts")[label] += 1;
  }
  const int64_t head_dims = sketch.space().head_dims();
  const std::vector<double> seen =
      LeadingColumns({space_, n(), sketch.space().dims()}, head_dims);
  FG_ASSIGN_OR_RETURN(
      const LogisticSample sample,
      LogisticSample::Create({seen, n(), head_dims}, records_.labels,
                             sketch.spec().num_classes));
  const std::vector<double>& at = sketch.head().coefficients();
  const Eigen::VectorXd coefficients =
      Eigen::Map<const Eigen::VectorXd>(at.data(), at.size());
  Eigen::VectorXd score;
  Eigen::MatrixXd information;
  sample.Derive(coefficients, score, information);
  Part(layout, sums, "loss")[0] = -sample.LogLikelihood(coefficients);
  std::copy(score.begin(), score.end(), Part(layout, sums, "gradient").begin());
  auto packed = Part(layout, sums, "information").begin();
  for (int64_t i = 0; i < score.size(); ++i) {
    for (int64_t j = i; j < score.size(); ++j) *packed++ = information(i, j);
  }
  return absl::OkStatus();
}

absl::Status SiteSketch::AddSummary(const Sketch& sketch,
                                    absl::Span<double> sums) {
  const SketchLayout& layout = sketch.layout();
  const MatrixView z{space_, n(), sketch.space().dims()};
  FG_ASSIGN_OR_RETURN(embedding_, sketch.space().random_features().Map(z));
  const MatrixView phi{embedding_, n(), kSketchEmbedding};
  AddColumns(phi, Part(layout, sums, "embedding"));
  AddColumns(z, Part(layout, sums, "space"));
  AddSelfProducts(z, Part(layout, sums, "space_products"));
  const absl::Span<double> by_class = Part(layout, sums, "class_embedding");
  for (int64_t r = 0; r < n(); ++r) {
    AddColumns({phi.Row(r), 1, kSketchEmbedding},
               by_class.subspan(records_.labels[r] * kSketchEmbedding,
                                kSketchEmbedding));
  }
  if (layout.Has("confusion")) {
    const int64_t classes = sketch.spec().num_classes;
    const absl::Span<double> confusion = Part(layout, sums, "confusion");
    const absl::Span<double> confidence = Part(layout, sums, "confidence");
    for (int64_t r = 0; r < n(); ++r) {
      const absl::Span<const double> outputs = records_.outputs.Row(r);
      const int64_t predicted = PredictedClass(outputs);
      confusion[predicted * classes + records_.labels[r]] += 1;
      confidence[predicted * kSketchBins + ConfidenceBin(outputs)] += 1;
    }
  }
  if (layout.Has("acquisition")) {
    const absl::Span<double> bins = Part(layout, sums, "acquisition");
    for (int64_t r = 0; r < n(); ++r) {
      for (int i = 0; i < kAcquisitions; ++i) {
        const int bin =
            sketch.space().AcquisitionBin(i, records_.acquisition.Row(r)[i]);
        bins[i * kSketchBins + bin] += 1;
      }
    }
  }
  if (layout.Has("manufacturer")) {
    const absl::Span<double> manufacturers = Part(layout, sums, "manufacturer");
    const absl::Span<double> models = Part(layout, sums, "model");
    for (int64_t r = 0; r < n(); ++r) {
      const DeviceBins bins =
          records_.devices.empty() ? DeviceBins() : records_.devices[r];
      manufacturers[bins.manufacturer] += 1;
      models[bins.model] += 1;
    }
  }
  return absl::OkStatus();
}

std::vector<double> LeadingColumns(const MatrixView& matrix, int64_t columns) {
  std::vector<double> leading;
  leading.reserve(matrix.rows * columns);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    const absl::Span<const double> row = matrix.Row(r).first(columns);
    leading.insert(leading.end(), row.begin(), row.end());
  }
  return leading;
}

int64_t PredictedClass(absl::Span<const double> outputs) {
  return std::max_element(outputs.begin(), outputs.end()) - outputs.begin();
}

int ConfidenceBin(absl::Span<const double> outputs) {
  const double least = 1.0 / static_cast<double>(outputs.size());
  const double top = *std::max_element(outputs.begin(), outputs.end());
  const double share = (top - least) / (1 - least);
  return std::clamp(static_cast<int>(share * kSketchBins), 0, kSketchBins - 1);
}

}  // namespace fedgraft
