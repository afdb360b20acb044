#include "client/train/embedding_spread.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr double kDeviationMin = 0.05;
constexpr double kEffectiveRankMin = 2;
// Shorter vectors are nothing but rounding.
constexpr double kLengthMin = 1e-12;
// Eigenvalues below this share of the largest are rounding too.
constexpr double kEigenvalueShareMin = 1e-13;

}  // namespace

EmbeddingSpread SpreadOf(const torch::Tensor& embeddings) {
  FG_CHECK(embeddings.dim() == 2 && embeddings.size(0) > 0 &&
           embeddings.scalar_type() == torch::kFloat64);
  torch::NoGradGuard no_grad;
  EmbeddingSpread spread;
  const torch::Tensor unit =
      embeddings / embeddings.norm(2, 1, true).clamp_min(kLengthMin);
  spread.deviation =
      std::sqrt((unit - unit.mean(0)).square().sum(1).mean().item<double>());

  const torch::Tensor centred = embeddings - embeddings.mean(0);
  const torch::Tensor gram = centred.size(0) < centred.size(1)
                                 ? centred.mm(centred.t())
                                 : centred.t().mm(centred);
  torch::Tensor eigenvalues = torch::linalg_eigvalsh(gram);
  const double largest = eigenvalues.max().item<double>();
  if (!(largest > kLengthMin * kLengthMin)) return spread;
  eigenvalues =
      eigenvalues.masked_select(eigenvalues > kEigenvalueShareMin * largest);
  const torch::Tensor singular = eigenvalues.sqrt();
  const torch::Tensor shares = singular / singular.sum();
  spread.effective_rank =
      std::exp(-(shares * shares.log()).sum().item<double>());
  return spread;
}

bool HasCollapsed(const EmbeddingSpread& spread) {
  return !(spread.deviation >= kDeviationMin &&
           spread.effective_rank >= kEffectiveRankMin);
}

}  // namespace fedgraft
