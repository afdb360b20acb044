#pragma once

#include <torch/torch.h>

namespace fedgraft {

// Whether embeddings [n, d] tell images apart, or have collapsed.
struct EmbeddingSpread {
  // Root mean square deviation of the embeddings, scaled to length 1, from
  // their mean: 1 if they point everywhere, 0 if all in one direction.
  double deviation = 0;
  // exp of the entropy of the singular values (as shares of their sum) of the
  // centred embeddings: how many directions they use, 1 to min(n - 1, d); 0 if
  // they are all equal. (Roy and Vetterli, "The effective rank", 2007; centred,
  // for a common mean tells nothing apart.)
  double effective_rank = 0;
};

// REQUIRES: F64 on the CPU, n >= 1, finite. May throw c10::Error.
EmbeddingSpread SpreadOf(const torch::Tensor& embeddings);

// One direction for all (deviation below 0.05), or fewer than 2 directions.
bool HasCollapsed(const EmbeddingSpread& spread);

}  // namespace fedgraft
