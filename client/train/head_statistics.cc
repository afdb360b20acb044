#include "client/train/head_statistics.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/solve/solve_statistics.h"

namespace fedgraft {
namespace {

using torch::Tensor;

// As common/solve/head_solver.cc judges pooled features.
constexpr double kVarianceMin = 1e-10;
constexpr int kInterceptSteps = 50;

Tensor Vector(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64);
}
Tensor Labels(const LabelledFeatures& features) {
  return torch::tensor(features.labels, torch::kInt64);
}
Tensor OneHot(const LabelledFeatures& features, int classes) {
  return torch::one_hot(Labels(features), classes).to(torch::kFloat64);
}

void Put(const SolveLayout::Part& part, const Tensor& values,
         std::vector<double>& sums) {
  const Tensor flat = values.contiguous().reshape({-1});
  TORCH_CHECK(flat.numel() == part.count, "a part of another size");
  std::copy_n(flat.data_ptr<double>(), part.count, sums.begin() + part.begin);
}

// Upper triangle, row by row.
Tensor Packed(const Tensor& matrix) {
  const Tensor at = torch::triu_indices(matrix.size(0), matrix.size(1));
  return matrix.index({at[0], at[1]});
}

// What the solver sees of the features.
Tensor Normalised(const SolvePoint& point, const LabelledFeatures& train,
                  const Tensor& values) {
  if (!point.mean.empty()) {
    return (values - Vector(point.mean)) * Vector(point.scale);
  }
  if (!point.per_site) return values;
  const FeatureScaling own = OwnScaling(train);
  return (values - own.mean) * own.scale;
}

Tensor WithOne(const Tensor& values) {
  return torch::cat({values, torch::ones({values.size(0), 1}, torch::kFloat64)},
                    1);
}

Tensor Contrasts(const SolvePoint& point) {
  return Vector(HelmertContrasts(point.classes))
      .reshape({point.classes - 1, point.classes});
}

// Log-probabilities [n, classes] of contrasts V: scores = [z 1] V' Q.
Tensor LogProbabilities(const SolvePoint& point, const Tensor& inputs,
                        const Tensor& contrasts) {
  const Tensor weights =
      Vector(point.weights).reshape({point.classes - 1, point.row()});
  return torch::log_softmax(inputs.mm(weights.t()).mm(contrasts), 1);
}

double SummedLoss(const Tensor& log_probabilities,
                  const LabelledFeatures& features) {
  if (features.count() == 0) return 0;
  return -log_probabilities.gather(1, Labels(features).unsqueeze(1))
              .sum()
              .item<double>();
}

// Sum over records of (Q S Q') x [z 1][z 1]', S = diag(p) - p p', packed.
Tensor PackedHessian(const Tensor& probabilities, const Tensor& contrasts,
                     const Tensor& inputs) {
  const int64_t blocks = contrasts.size(0), row = inputs.size(1);
  const Tensor projected = probabilities.mm(contrasts.t());  // [n, blocks]
  Tensor hessian = torch::empty({blocks * row, blocks * row}, torch::kFloat64);
  for (int64_t a = 0; a < blocks; ++a) {
    for (int64_t b = a; b < blocks; ++b) {
      const Tensor weight = probabilities.mv(contrasts[a] * contrasts[b]) -
                            projected.select(1, a) * projected.select(1, b);
      const Tensor block = inputs.t().mm(inputs * weight.unsqueeze(1));
      hessian.narrow(0, a * row, row).narrow(1, b * row, row).copy_(block);
    }
  }
  return Packed(hessian);
}

void PutPoint(const SolvePoint& point, const SolveLayout& layout,
              const LabelledFeatures& train, const LabelledFeatures& validation,
              std::vector<double>& sums) {
  const Tensor contrasts = Contrasts(point);
  const Tensor inputs = WithOne(Normalised(point, train, train.values));
  const Tensor logs = LogProbabilities(point, inputs, contrasts);
  const Tensor probabilities = logs.exp();
  sums[layout.loss.begin] = SummedLoss(logs, train);
  if (validation.count() > 0) {
    const Tensor of_validation =
        WithOne(Normalised(point, train, validation.values));
    sums[layout.validation_losses.begin] = SummedLoss(
        LogProbabilities(point, of_validation, contrasts), validation);
  }
  const Tensor residual = probabilities - OneHot(train, point.classes);
  Put(layout.gradient, residual.mm(contrasts.t()).t().mm(inputs), sums);
  if (layout.hessian.count > 0) {
    Put(layout.hessian, PackedHessian(probabilities, contrasts, inputs), sums);
  }
}

void PutValidation(const SolvePoint& point, const SolveLayout& layout,
                   const LabelledFeatures& train,
                   const LabelledFeatures& validation,
                   std::vector<double>& sums) {
  if (validation.count() == 0) return;
  const Tensor inputs = WithOne(Normalised(point, train, validation.values));
  const Tensor weights =
      Vector(point.weights)
          .reshape({point.candidates, point.classes, point.row()});
  for (int k = 0; k < point.candidates; ++k) {
    const Tensor errors =
        inputs.mm(weights[k].t()) - OneHot(validation, point.classes);
    sums[layout.validation_losses.begin + k] =
        0.5 * errors.square().sum().item<double>();
  }
}

absl::Status CheckFeatures(const SolvePoint& point,
                           const LabelledFeatures& features) {
  if (features.count() == 0) return absl::OkStatus();
  if (features.values.dim() != 2 ||
      features.values.size(0) != features.count() ||
      features.values.size(1) != point.feature_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("features [", features.values.size(0), ", ",
                     features.values.numel() / features.values.size(0), "] of ",
                     features.count(), " records; the solver expects ",
                     point.feature_dim, " features each"));
  }
  if (!torch::isfinite(features.values).all().item<bool>()) {
    return absl::InvalidArgumentError("a feature is not finite");
  }
  return absl::OkStatus();
}

}  // namespace

FeatureScaling OwnScaling(const LabelledFeatures& train) {
  FeatureScaling scaling;
  scaling.mean = train.values.mean(0);
  const Tensor square = train.values.square().mean(0);
  const Tensor variance = square - scaling.mean.square();
  const Tensor varies = variance > kVarianceMin * (square + kVarianceMin);
  scaling.scale = torch::where(varies, variance.clamp_min(1e-300).rsqrt(),
                               torch::zeros_like(variance));
  return scaling;
}

absl::StatusOr<std::vector<double>> SolveStatistics(
    const SolvePoint& point, const LabelledFeatures& train,
    const LabelledFeatures& validation) {
  if (train.count() == 0) {
    return absl::FailedPreconditionError("there are no training images");
  }
  for (const LabelledFeatures* features : {&train, &validation}) {
    absl::Status status = CheckFeatures(point, *features);
    if (!status.ok()) return status;
  }
  const SolveLayout layout(point);
  std::vector<double> sums(static_cast<size_t>(layout.count()), 0.0);
  sums[layout.records.begin] = static_cast<double>(train.count());
  if (layout.validation_records.count > 0) {
    sums[layout.validation_records.begin] =
        static_cast<double>(validation.count());
  }
  if (layout.class_counts.count > 0) {
    Put(layout.class_counts, OneHot(train, point.classes).sum(0), sums);
  }
  switch (point.stage) {
    case SolveStage::kMoments:
      Put(layout.feature_sums, train.values.sum(0), sums);
      Put(layout.feature_squares, train.values.square().sum(0), sums);
      break;
    case SolveStage::kCross: {
      const Tensor inputs = Normalised(point, train, train.values);
      Put(layout.feature_sums, inputs.sum(0), sums);
      Put(layout.gram, Packed(inputs.t().mm(inputs)), sums);
      Put(layout.cross, OneHot(train, point.classes).t().mm(inputs), sums);
      break;
    }
    case SolveStage::kGram: {
      const Tensor inputs = WithOne(Normalised(point, train, train.values));
      const Tensor p = LogProbabilities(point, inputs, Contrasts(point)).exp();
      const Tensor weight = (1 - p.square().sum(1)) / (point.classes - 1);
      Put(layout.gram, Packed(inputs.t().mm(inputs * weight.unsqueeze(1))),
          sums);
      break;
    }
    case SolveStage::kGradient:
    case SolveStage::kHessian:
      PutPoint(point, layout, train, validation, sums);
      break;
    case SolveStage::kValidate:
      PutValidation(point, layout, train, validation, sums);
      break;
  }
  return sums;
}

Tensor RefitIntercepts(const Tensor& head, const LabelledFeatures& train) {
  const int64_t classes = head.size(0), dim = head.size(1) - 1;
  const Tensor counts = OneHot(train, static_cast<int>(classes)).sum(0);
  const Tensor present = counts > 0;
  Tensor fitted = head.clone();
  if (present.sum().item<int64_t>() < 2) return fitted;
  const Tensor scores = train.values.mm(head.narrow(1, 0, dim).t());
  Tensor intercept = head.select(1, dim).clone();
  for (int step = 0; step < kInterceptSteps; ++step) {
    const Tensor p = torch::softmax(scores + intercept, 1);
    const Tensor gradient =
        torch::where(present, p.sum(0) - counts, torch::zeros_like(counts));
    if (gradient.abs().max().item<double>() < 1e-10) break;
    Tensor hessian = torch::diag(p.sum(0)) - p.t().mm(p);
    // The sum of all intercepts is free; absent classes do not move.
    hessian = hessian + torch::ones_like(hessian);
    const Tensor mask = present.to(torch::kFloat64);
    hessian =
        hessian * mask.unsqueeze(0) * mask.unsqueeze(1) + torch::diag(1 - mask);
    const Tensor direction = at::linalg_solve(hessian, gradient);
    // Far from the solution a whole step may overshoot.
    const double longest = direction.abs().max().item<double>();
    intercept = intercept - direction * std::min(1.0, 2.0 / longest);
  }
  fitted.select(1, dim).copy_(intercept);
  return fitted;
}

}  // namespace fedgraft
