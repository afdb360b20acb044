#pragma once

#include <torch/torch.h>

namespace fedgraft {

// Losses of self-supervised learning on the projections [n, d] of two views of
// n images, row by row; differentiable in both. n >= 2.

// NT-Xent: cross-entropy of telling each of the 2n projections its partner
// among the 2n - 1 others, by cosine similarity / temperature; mean over the
// 2n. (Chen et al., "A Simple Framework for Contrastive Learning of Visual
// Representations", 2020, equation 1.) REQUIRES: temperature > 0.
torch::Tensor NtXentLoss(const torch::Tensor& a, const torch::Tensor& b,
                         double temperature);

// Coefficients as in the paper's section 4.2.
struct VicRegWeights {
  double invariance = 25, variance = 25, covariance = 1;
};

//   invariance   mean squared difference of a and b over all n d values
//   variance     max(0, 1 - sqrt(Var + 1e-4)), mean over d, mean of a and b
//   covariance   sum of the squared covariances of different components / d,
//   sum
//                of a and b
// with unbiased (n - 1) variances and covariances. (Bardes, Ponce and LeCun,
// "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
// Learning", 2022, appendix A, algorithm 1, whose means the coefficients belong
// to; the text's equation 5 sums the invariance over components instead.)
torch::Tensor VicRegLoss(const torch::Tensor& a, const torch::Tensor& b,
                         const VicRegWeights& weights);

}  // namespace fedgraft
