#include "common/solve/solve_point.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/config/deterministic_bytes.h"
#include "google/protobuf/stubs/logging.h"
#include "proto/solver.pb.h"

namespace fedgraft {
namespace {

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("solve point: ", what));
}

bool AllFinite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](double v) { return std::isfinite(v); });
}

// How many weights a point of this stage has.
uint64_t WeightCount(const SolvePoint& point) {
  switch (point.stage) {
    case SolveStage::kGram:
    case SolveStage::kGradient:
    case SolveStage::kHessian:
      return static_cast<uint64_t>(point.variables());
    case SolveStage::kValidate:
      return static_cast<uint64_t>(point.candidates) *
             static_cast<uint64_t>(point.classes) *
             static_cast<uint64_t>(point.row());
    default:
      return 0;
  }
}

absl::Status Check(const SolvePoint& point) {
  if (point.classes < 2 || point.classes > SolvePoint::kClassesMax ||
      point.feature_dim < 1 || point.feature_dim > SolvePoint::kFeaturesMax) {
    return Wrong(absl::StrCat(point.classes, " classes of ", point.feature_dim,
                              " features"));
  }
  const uint64_t count = WeightCount(point);
  if (count > SolvePoint::kWeightsMax || point.weights.size() != count) {
    return Wrong(absl::StrCat("expected ", count, " weights, got ",
                              point.weights.size()));
  }
  const size_t dim = static_cast<size_t>(point.feature_dim);
  if (point.mean.size() != point.scale.size() ||
      (!point.mean.empty() && point.mean.size() != dim)) {
    return Wrong(absl::StrCat("expected means and scales of ", dim,
                              " features, got ", point.mean.size(), " and ",
                              point.scale.size()));
  }
  if (!AllFinite(point.mean) || !AllFinite(point.scale) ||
      !AllFinite(point.weights) || !std::isfinite(point.hessian_scale) ||
      !(point.hessian_scale > 0)) {
    return Wrong("a number is not finite, or the Hessian's scale not positive");
  }
  return absl::OkStatus();
}

template <typename Repeated>
std::vector<double> ToVector(const Repeated& values) {
  return {values.begin(), values.end()};
}

}  // namespace

Bytes EncodeSolvePoint(const SolvePoint& point) {
  pb::SolvePoint message;
  message.set_stage(static_cast<pb::SolveStage>(point.stage));
  message.set_classes(static_cast<uint32_t>(point.classes));
  message.set_feature_dim(static_cast<uint32_t>(point.feature_dim));
  message.mutable_mean()->Add(point.mean.begin(), point.mean.end());
  message.mutable_scale()->Add(point.scale.begin(), point.scale.end());
  message.set_per_site(point.per_site);
  message.mutable_weights()->Add(point.weights.begin(), point.weights.end());
  message.set_candidates(static_cast<uint32_t>(point.candidates));
  message.set_hessian_scale(point.hessian_scale);
  return DeterministicBytes(message);
}

absl::StatusOr<SolvePoint> DecodeSolvePoint(ByteSpan bytes) {
  pb::SolvePoint message;
  const google::protobuf::LogSilencer silencer;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Wrong("the bytes are not a solve point");
  }
  if (message.stage() < pb::SOLVE_STAGE_MOMENTS ||
      message.stage() > pb::SOLVE_STAGE_VALIDATE) {
    return Wrong(
        absl::StrCat("unknown stage ", static_cast<int>(message.stage())));
  }
  SolvePoint point;
  point.stage = static_cast<SolveStage>(message.stage());
  point.classes = static_cast<int>(
      std::min<uint32_t>(message.classes(), SolvePoint::kClassesMax + 1));
  point.feature_dim = message.feature_dim();
  point.mean = ToVector(message.mean());
  point.scale = ToVector(message.scale());
  point.per_site = message.per_site();
  point.weights = ToVector(message.weights());
  if (message.candidates() > 64) return Wrong("more than 64 candidates");
  point.candidates = static_cast<int>(message.candidates());
  point.hessian_scale = message.hessian_scale();
  if (const absl::Status status = Check(point); !status.ok()) return status;
  return point;
}

std::vector<double> HelmertContrasts(int classes) {
  const size_t count = static_cast<size_t>(classes);
  std::vector<double> rows((count - 1) * count, 0.0);
  for (size_t k = 1; k < count; ++k) {
    const double norm = std::sqrt(static_cast<double>(k * (k + 1)));
    double* row = rows.data() + (k - 1) * count;
    for (size_t c = 0; c < k; ++c) row[c] = -1 / norm;
    row[k] = static_cast<double>(k) / norm;
  }
  return rows;
}

}  // namespace fedgraft
