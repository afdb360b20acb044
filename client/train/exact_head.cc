#include "client/train/exact_head.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/solve/head_solver.h"
#include "common/solve/head_values.h"

namespace fedgraft {
namespace {

constexpr int64_t kBatch = 256;

}  // namespace

ExactHead::ExactHead(const Plan& plan, Learner& learner)
    : plan_(plan), learner_(learner) {
  FG_CHECK(plan.solver.kind != SolverKind::kNone);
  auto values = learner.Values();
  FG_CHECK(values.ok());
  pretrained_ = *std::move(values);
}

absl::Status ExactHead::TakeFeatures(Split split,
                                     const ActivationStore& store) {
  torch::NoGradGuard no_grad;
  FG_RETURN_IF_ERROR(learner_.SetValues(pretrained_));
  Network& network = learner_.network();
  std::vector<torch::Tensor> parts;
  for (int64_t begin = 0; begin < store.count(); begin += kBatch) {
    std::vector<int64_t> records;
    for (int64_t i = begin; i < std::min(store.count(), begin + kBatch); ++i) {
      records.push_back(i);
    }
    FG_ASSIGN_OR_RETURN(torch::Tensor batch, store.Batch(records));
    parts.push_back(network.Run(batch, store.stage(), network.head_stage())
                        .to(torch::kCPU, torch::kFloat64));
  }
  LabelledFeatures features;
  features.labels = store.labels();
  if (!parts.empty()) features.values = torch::cat(parts);
  features_[split] = std::move(features);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> ExactHead::Statistics(
    const SolvePoint& point) {
  if (point.classes != plan_.num_classes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the solve point has ", point.classes,
                     " classes, the plan has ", plan_.num_classes()));
  }
  return SolveStatistics(point, Features(Split::kTrain), Features(Split::kVal));
}

absl::Status ExactHead::SolveAlone(ParameterVector& values) {
  const ParameterLayout& layout = learner_.layout();
  SolverState state = InitialSolverState(plan_, HeadFeatures(plan_, layout));
  while (!state.done) {
    FG_ASSIGN_OR_RETURN(const std::vector<double> sums,
                        Statistics(NextPoint(plan_, state)));
    FG_ASSIGN_OR_RETURN(state, Advance(plan_, state, sums));
  }
  SetHead(plan_, layout, PublishedHead(state), values);
  return absl::OkStatus();
}

void ExactHead::Localise(ParameterVector& values) {
  const ParameterLayout& layout = learner_.layout();
  const int64_t row = HeadFeatures(plan_, layout) + 1;
  const LabelledFeatures& train = Features(Split::kTrain);
  if (train.count() == 0 || !localises()) return;
  torch::Tensor head =
      torch::tensor(GetHead(plan_, layout, values), torch::kFloat64)
          .reshape({plan_.num_classes(), row});
  if (plan_.solver.normalization == Normalization::kPerSite) {
    const FeatureScaling own = OwnScaling(train);
    const torch::Tensor slopes = head.narrow(1, 0, row - 1) * own.scale;
    const torch::Tensor intercepts =
        head.select(1, row - 1) - slopes.mv(own.mean);
    head = torch::cat({slopes, intercepts.unsqueeze(1)}, 1);
  }
  if (plan_.solver.site_intercept) head = RefitIntercepts(head, train);
  head = head.contiguous();
  const double* data = head.data_ptr<double>();
  SetHead(plan_, layout, {data, data + head.numel()}, values);
}

}  // namespace fedgraft
