#include "client/train/ssl_loss.h"

#include <limits>

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr double kVarianceEpsilon = 1e-4;
constexpr double kDeviationTarget = 1;

void CheckProjections(const torch::Tensor& a, const torch::Tensor& b) {
  FG_CHECK(a.dim() == 2 && a.sizes() == b.sizes() && a.size(0) >= 2);
}

torch::Tensor VarianceTerm(const torch::Tensor& centred) {
  const auto n = static_cast<double>(centred.size(0));
  const torch::Tensor deviation =
      (centred.square().sum(0) / (n - 1) + kVarianceEpsilon).sqrt();
  return torch::relu(kDeviationTarget - deviation).mean();
}

torch::Tensor CovarianceTerm(const torch::Tensor& centred) {
  const auto n = static_cast<double>(centred.size(0));
  const torch::Tensor covariance = centred.t().mm(centred) / (n - 1);
  const torch::Tensor own = covariance.diagonal();
  return (covariance.square().sum() - own.square().sum()) /
         static_cast<double>(centred.size(1));
}

}  // namespace

torch::Tensor NtXentLoss(const torch::Tensor& a, const torch::Tensor& b,
                         double temperature) {
  CheckProjections(a, b);
  FG_CHECK(temperature > 0);
  const int64_t n = a.size(0);
  const torch::Tensor unit = torch::nn::functional::normalize(
      torch::cat({a, b}), torch::nn::functional::NormalizeFuncOptions().dim(1));
  const torch::Tensor own =
      torch::eye(2 * n, torch::TensorOptions(a.device()).dtype(torch::kBool));
  const torch::Tensor logits =
      (unit.mm(unit.t()) / temperature)
          .masked_fill(own, -std::numeric_limits<double>::infinity());
  const torch::Tensor partners =
      torch::arange(2 * n,
                    torch::TensorOptions(a.device()).dtype(torch::kInt64))
          .roll(n);
  return torch::nn::functional::cross_entropy(logits, partners);
}

torch::Tensor VicRegLoss(const torch::Tensor& a, const torch::Tensor& b,
                         const VicRegWeights& weights) {
  CheckProjections(a, b);
  const torch::Tensor centred_a = a - a.mean(0), centred_b = b - b.mean(0);
  return weights.invariance * (a - b).square().mean() +
         weights.variance / 2 *
             (VarianceTerm(centred_a) + VarianceTerm(centred_b)) +
         weights.covariance *
             (CovarianceTerm(centred_a) + CovarianceTerm(centred_b));
}

}  // namespace fedgraft
