#include "client/train/neighbours.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

// Rows of the similarity matrix that are there at once.
constexpr int64_t kBlock = 256;

// `neighbours`, nearest first.
int64_t Vote(absl::Span<const int64_t> neighbours,
             const std::vector<int64_t>& labels) {
  std::map<int64_t, int> votes;
  for (int64_t neighbour : neighbours) ++votes[labels[neighbour]];
  int most = 0;
  for (const auto& [label, count] : votes) most = std::max(most, count);
  for (int64_t neighbour : neighbours) {
    if (votes[labels[neighbour]] == most) return labels[neighbour];
  }
  return -1;
}

}  // namespace

absl::StatusOr<NeighbourScore> LeaveOneOutNeighbours(
    const torch::Tensor& features, const std::vector<int64_t>& labels, int k) {
  const int64_t n = features.size(0);
  FG_CHECK(n == static_cast<int64_t>(labels.size()) && k >= 1);
  if (n < 2) {
    return absl::FailedPreconditionError(
        absl::StrCat("neighbours: expected at least 2 records, not ", n));
  }
  torch::NoGradGuard no_grad;
  const int64_t near = std::min<int64_t>(k, n - 1);
  const torch::Tensor unit = torch::nn::functional::normalize(
      features, torch::nn::functional::NormalizeFuncOptions().p(2).dim(1));
  std::map<int64_t, double> records, hits;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    torch::Tensor similarity =
        torch::matmul(unit.narrow(0, begin, count), unit.t());
    // A record is not its own neighbour.
    similarity.diagonal(begin).fill_(-2);
    const torch::Tensor nearest =
        std::get<1>(similarity.topk(near, 1)).contiguous();
    const int64_t* row = nearest.data_ptr<int64_t>();
    for (int64_t i = 0; i < count; ++i, row += near) {
      const int64_t label = labels[begin + i];
      records[label] += 1;
      if (Vote({row, static_cast<size_t>(near)}, labels) == label) {
        hits[label] += 1;
      }
    }
  }
  NeighbourScore score;
  for (const auto& [label, count] : records) {
    score.accuracy += hits[label] / static_cast<double>(n);
    score.balanced_accuracy +=
        hits[label] / count / static_cast<double>(records.size());
  }
  return score;
}

}  // namespace fedgraft
