#include "tests/train/linear_probe.h"

#include <memory>
#include <optional>

#include "absl/types/span.h"
#include "client/data/preprocess.h"
#include "client/train/activation_store.h"
#include "client/train/feature_rows.h"
#include "client/train/site_metrics.h"
#include "common/base/check.h"
#include "common/solve/head_solver.h"
#include "tests/train/fixture.h"

namespace fedgraft::testing {
namespace {

double AucOf(const LabelledFeatures& records, const std::vector<double>& head) {
  const int64_t row = records.values.size(1) + 1;
  const torch::Tensor weights =
      torch::tensor(head, torch::kFloat64).reshape({2, row});
  const torch::Tensor slope = weights[1] - weights[0];
  const torch::Tensor scores = records.values.mv(slope.narrow(0, 0, row - 1))
                                   .to(torch::kFloat32)
                                   .contiguous();
  const size_t n = records.labels.size();
  const auto positive = std::make_unique<bool[]>(n);
  for (size_t i = 0; i < n; ++i) positive[i] = records.labels[i] == 1;
  const std::optional<Auc> auc =
      ComputeAuc(absl::MakeConstSpan(scores.data_ptr<float>(), n),
                 absl::MakeConstSpan(positive.get(), n));
  return auc ? auc->value : 0.5;
}

}  // namespace

LabelledFeatures FeaturesOf(Network& network, const DataSource& source,
                            const PreprocessingSpec& preprocessing,
                            Split split) {
  const Preprocessor preprocessor = *Preprocessor::Create(preprocessing);
  const Compute compute;
  network.eval();
  ActivationStore::Options options;
  options.network = &network;
  options.compute = &compute;
  options.source = &source;
  options.preprocessor = &preprocessor;
  options.split = split;
  auto store = ActivationStore::Create(options, Silent);
  FG_CHECK(store.ok());
  auto rows = HeadFeatures(**store, network, compute, Silent);
  FG_CHECK(rows.ok());
  return {*rows, (*store)->labels()};
}

LabelledFeatures Select(const LabelledFeatures& all,
                        const std::vector<int64_t>& indices) {
  LabelledFeatures chosen;
  chosen.values = all.values.index_select(0, torch::tensor(indices));
  for (int64_t i : indices) chosen.labels.push_back(all.labels[i]);
  return chosen;
}

ProbeScore ScoreProbe(const LabelledFeatures& train,
                      const LabelledFeatures& validation,
                      const LabelledFeatures& test,
                      const std::vector<double>& lambdas) {
  const torch::Tensor mean = train.values.mean(0);
  const torch::Tensor deviation = train.values.std(0, false);
  const torch::Tensor scale =
      torch::where(deviation > 1e-9, 1 / deviation.clamp_min(1e-9),
                   torch::zeros_like(deviation));
  // The penalised slopes lie in the span of the centred training records: in a
  // basis of it the problem is the same and, with few records, small.
  const torch::Tensor rows = (train.values - mean) * scale;
  const torch::Tensor basis =
      std::get<2>(torch::linalg_svd(rows, false)).t().contiguous();
  const auto reduced = [&](const LabelledFeatures& records) {
    return LabelledFeatures{
        ((records.values - mean) * scale).mm(basis).contiguous(),
        records.labels};
  };
  const LabelledFeatures small = reduced(train), val = reduced(validation);

  Plan plan;
  plan.classes = {"0", "1"};
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.lambdas = lambdas;
  plan.solver.normalization = Normalization::kNone;
  plan.solver.rounds_max = 1000;
  SolverState state = InitialSolverState(plan, basis.size(1));
  while (!state.done) {
    auto sums = SolveStatistics(NextPoint(plan, state), small, val);
    FG_CHECK(sums.ok());
    auto next = Advance(plan, state, *sums);
    FG_CHECK(next.ok());
    state = *std::move(next);
  }
  const SolvedHead& head = state.heads[ChosenHead(state)];
  return {head.lambda, AucOf(val, head.weights),
          AucOf(reduced(test), head.weights)};
}

}  // namespace fedgraft::testing
