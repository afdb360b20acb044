// What a site gains by correcting for label shift, and whether watch-data tells
// the truth: on phantom images, through a frozen backbone and heads of many
// seeds.
//
// Each seed draws from a pool of images 400 to fit a head and 300 to calibrate
// it, with lesions in one half, and 500 new ones: of the same share, of others
// (label shift), or of another scanner. Printed for each kind of new images:
//
//   log loss   of the head as it is, calibrated, and corrected to EM's shares
//              and to the true ones; recovered: the part of what the true
//              shares save over the calibrated head that EM's save
//   RMSE       of EM's share of lesions
//   covered    in how many seeds the 95 % intervals of that share, of the AUC
//              and of the balanced accuracy hold the true share and what the
//              new images' labels show
//   differs    in how many seeds each check of watch-data does, at 1 %
//
//   label_shift --backbone FILE [--seeds 40] [--contrast 0.3]
//
// The backbone: a resnet18 that knows phantoms (deploy/demo.sh makes one,
// demo-out/model/backbone.safetensors).

#include "common/shift/label_shift.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/data/acquisition.h"
#include "client/data/phantom_source.h"
#include "client/data/seeded_random.h"
#include "client/model/network_state.h"
#include "client/shift/watch_checks.h"
#include "client/shift/watch_data.h"
#include "client/train/feature_rows.h"
#include "common/base/check.h"
#include "common/model/safetensors.h"
#include "common/solve/head_solver.h"
#include "tests/train/fixture.h"
#include "tests/train/linear_probe.h"

namespace fedgraft {
namespace {

constexpr int64_t kTrain = 400, kValidation = 300, kArrived = 500;
constexpr double kLambda = 30, kLevel = 0.01;
const std::vector<std::string> kClasses = {"no_lesion", "lesion"};

struct Pool {
  LabelledFeatures records;
  std::vector<AcquisitionNumbers> acquisition;
};

Pool MakePool(Network& network, const PhantomScanner& scanner, double contrast,
              int images, uint64_t seed) {
  PhantomOptions options;
  options.seed = seed;
  options.train = images;
  options.spec.scanner = scanner;
  options.spec.lesion_contrast = contrast;
  const auto source = OpenPhantomSource(options, {kClasses, DataUse::kTrain});
  FG_CHECK(source.ok());
  PreprocessingSpec preprocessing;
  preprocessing.size = options.spec.size;
  Pool pool;
  pool.records =
      testing::FeaturesOf(network, **source, preprocessing, Split::kTrain);
  for (int i = 0; i < images; ++i) {
    pool.acquisition.push_back(
        MeasureAcquisition(*(*source)->Load(Split::kTrain, i)));
  }
  return pool;
}

// Records of a pool as a model sees them.
struct Sample {
  torch::Tensor features, outputs;
  std::vector<double> acquisition;
  std::vector<int64_t> labels;

  LabelledOutputs Labelled() const { return {AsMatrix(outputs), labels}; }
  MatrixView Acquisition() const {
    return {acquisition, static_cast<int64_t>(labels.size()), kAcquisitions};
  }
};

class Head {
 public:
  explicit Head(const LabelledFeatures& train) : scaling_(OwnScaling(train)) {
    const LabelledFeatures scaled{Scale(train.values), train.labels};
    Plan plan;
    plan.classes = kClasses;
    plan.solver.kind = SolverKind::kNewton;
    plan.solver.lambdas = {kLambda};
    plan.solver.normalization = Normalization::kNone;
    SolverState state = InitialSolverState(plan, train.values.size(1));
    while (!state.done) {
      const auto sums = SolveStatistics(NextPoint(plan, state), scaled, {});
      FG_CHECK(sums.ok());
      auto next = Advance(plan, state, *sums);
      FG_CHECK(next.ok());
      state = *std::move(next);
    }
    weights_ = torch::tensor(state.heads[0].weights, torch::kFloat64)
                   .reshape({2, train.values.size(1) + 1});
  }
  Sample Apply(const Pool& pool, const std::vector<int64_t>& indices) const {
    const LabelledFeatures chosen = testing::Select(pool.records, indices);
    const int64_t dim = chosen.values.size(1);
    Sample sample;
    sample.features = chosen.values.contiguous();
    sample.labels = chosen.labels;
    const torch::Tensor logits =
        Scale(chosen.values).mm(weights_.narrow(1, 0, dim).t()) +
        weights_.select(1, dim);
    sample.outputs = torch::softmax(logits, 1).contiguous();
    for (int64_t i : indices) {
      sample.acquisition.insert(sample.acquisition.end(),
                                pool.acquisition[i].begin(),
                                pool.acquisition[i].end());
    }
    return sample;
  }

 private:
  torch::Tensor Scale(const torch::Tensor& values) const {
    return (values - scaling_.mean) * scaling_.scale;
  }
  FeatureScaling scaling_;
  torch::Tensor weights_;
};

double LogLoss(absl::Span<const double> p, const std::vector<int64_t>& labels) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    sum -= std::log(std::max(p[2 * i + labels[i]], 1e-12));
  }
  return sum / static_cast<double>(labels.size());
}

bool Holds(const MeasureInterval& interval, double value) {
  return interval.low <= value && value <= interval.high;
}

struct Tally {
  int seeds = 0, share = 0, estimated = 0, auc = 0, accuracy = 0, undone = 0;
  int falls = 0;
  double raw = 0, calibrated = 0, em = 0, oracle = 0, squares = 0, true_auc = 0;
  std::vector<double> recovered;
  std::map<std::string_view, int> differs;

  void Add(const Sample& train, const Sample& validation, const Sample& arrived,
           double share, uint64_t seed);
  void Print(const char* name, double share) const;
};

void Tally::Add(const Sample& train, const Sample& validation,
                const Sample& arrived, double true_share, uint64_t seed) {
  ++seeds;
  const MatrixView outputs = AsMatrix(arrived.outputs);
  const auto source = SourceOutputs::Calibrate(validation.Labelled());
  FG_CHECK(source.ok());
  const auto prior =
      EstimateTargetPrior(outputs, *source, validation.Labelled(), seed);
  FG_CHECK(prior.ok());
  const std::vector<double> posteriors = *source->Posteriors(outputs);
  const auto loss = [&](absl::Span<const double> q) {
    return LogLoss(
        *CorrectPosteriors({posteriors, outputs.rows, 2}, source->prior(), q),
        arrived.labels);
  };
  const double plain = LogLoss(posteriors, arrived.labels);
  const double best = loss({1 - true_share, true_share});
  const double corrected = loss(prior->prior);
  raw += LogLoss(outputs.values, arrived.labels);
  calibrated += plain;
  oracle += best;
  em += corrected;
  recovered.push_back((plain - corrected) / (plain - best));
  squares += std::pow(prior->prior[1] - true_share, 2);
  share += prior->low[1] <= true_share && true_share <= prior->high[1] ? 1 : 0;

  const auto report = WatchData(
      {AsMatrix(train.features), train.Acquisition(), validation.Labelled()},
      {AsMatrix(arrived.features), outputs, arrived.Acquisition()}, kLevel,
      seed);
  FG_CHECK(report.ok());
  for (const WatchResult& result : report->results) {
    differs[result.name] += result.differs ? 1 : 0;
  }
  undone += report->undoes_label_shift ? 1 : 0;
  falls += report->performance_falls ? 1 : 0;
  const auto truth = ObservePerformance(arrived.Labelled());
  FG_CHECK(truth.ok());
  true_auc += truth->auc->value;
  if (!report->expected.has_value()) return;
  ++estimated;
  auc += Holds(*report->expected->auc, truth->auc->value) ? 1 : 0;
  accuracy +=
      Holds(report->expected->balanced_accuracy, truth->balanced_accuracy.value)
          ? 1
          : 0;
}

void Tally::Print(const char* name, double true_share) const {
  const double n = seeds;
  std::printf("%s, %d seeds, share of lesions %.2f, AUC %.3f\n", name, seeds,
              true_share, true_auc / n);
  std::printf(
      "  log loss: as it is %.4f, calibrated %.4f, EM %.4f, true shares %.4f",
      raw / n, calibrated / n, em / n, oracle / n);
  if (calibrated - oracle > 0.005 * n) {
    std::vector<double> sorted = recovered;
    std::sort(sorted.begin(), sorted.end());
    std::printf(
        "\n  recovered %.3f in sum; by seed: least %.3f, median %.3f, %d of %d "
        "at least 0.8",
        (calibrated - em) / (calibrated - oracle), sorted.front(),
        sorted[sorted.size() / 2],
        static_cast<int>(std::count_if(sorted.begin(), sorted.end(),
                                       [](double r) { return r >= 0.8; })),
        seeds);
  }
  std::printf(
      "\n  EM's share: RMSE %.4f, covered %d of %d\n  expected AUC covered %d "
      "of "
      "%d, balanced accuracy %d; label shift undone %d; falls %d\n  differs:",
      std::sqrt(squares / n), share, seeds, auc, estimated, accuracy, undone,
      falls);
  for (const WatchCheckSpec& check : WatchChecks()) {
    const auto found = differs.find(check.name);
    std::printf(" %s %d", std::string(check.name).c_str(),
                found == differs.end() ? 0 : found->second);
  }
  std::printf("\n");
  std::fflush(stdout);
}

struct Kind {
  const char* name;
  double share;
  bool other_scanner;
};
constexpr Kind kKinds[] = {{"nothing", 0.5, false},
                           {"rare", 0.15, false},
                           {"common", 0.8, false},
                           {"scanner", 0.5, true}};

// `count` of the indices from `begin` on, with lesions of this share.
std::vector<int64_t> DrawShare(const Pool& pool,
                               const std::vector<int64_t>& order, size_t begin,
                               double share, SeededRandom& random) {
  std::vector<int64_t> chosen;
  size_t at[2] = {begin, begin};
  while (static_cast<int64_t>(chosen.size()) < kArrived) {
    const int64_t label = random.Uniform() < share ? 1 : 0;
    size_t& next = at[label];
    while (next < order.size() && pool.records.labels[order[next]] != label) {
      ++next;
    }
    FG_CHECK(next < order.size());
    chosen.push_back(order[next++]);
  }
  return chosen;
}

std::vector<int64_t> Shuffled(int64_t count, SeededRandom& random) {
  std::vector<int64_t> order(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t j = static_cast<int64_t>(random.Below(i + 1));
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}

void Run(const std::string& backbone, double contrast, int seeds, int pooled) {
  auto network = *BuildModel("resnet18", 2);
  const auto file = SafetensorsFile::Open(backbone);
  FG_CHECK(file.ok());
  FG_CHECK(LoadState(*file, HeadPolicy::kIgnore, *network).ok());
  const Pool own = MakePool(*network, {}, contrast, pooled, 1);
  const Pool other = MakePool(*network, {.blur_sigma = 1.2, .photons = 1000},
                              contrast, static_cast<int>(3 * kArrived), 2);
  std::map<std::string, Tally> tallies;
  for (int seed = 1; seed <= seeds; ++seed) {
    SeededRandom random({static_cast<uint64_t>(seed), 9});
    const std::vector<int64_t> order = Shuffled(pooled, random);
    const std::vector<int64_t> train(order.begin(), order.begin() + kTrain);
    const std::vector<int64_t> held_out(order.begin() + kTrain,
                                        order.begin() + kTrain + kValidation);
    const Head head(testing::Select(own.records, train));
    const Sample fitted = head.Apply(own, train);
    const Sample validation = head.Apply(own, held_out);
    for (const Kind& kind : kKinds) {
      const std::vector<int64_t> arrived =
          kind.other_scanner
              ? DrawShare(other, Shuffled(3 * kArrived, random), 0, kind.share,
                          random)
              : DrawShare(own, order, kTrain + kValidation, kind.share, random);
      tallies[kind.name].Add(
          fitted, validation,
          head.Apply(kind.other_scanner ? other : own, arrived), kind.share,
          static_cast<uint64_t>(seed));
    }
    std::fprintf(stderr, "seed %d\n", seed);
  }
  for (const Kind& kind : kKinds)
    tallies[kind.name].Print(kind.name, kind.share);
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  CLI::App app("Label shift: what correction gains, what watch-data says");
  std::string backbone;
  double contrast = 0.3;
  int seeds = 40, pooled = 4000;
  app.add_option("--backbone", backbone)->required();
  app.add_option("--contrast", contrast)->capture_default_str();
  app.add_option("--seeds", seeds)->capture_default_str();
  app.add_option("--pool", pooled, "Images that seeds draw from")
      ->check(CLI::Range(2500, 100000))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  fedgraft::Run(backbone, contrast, seeds, pooled);
  return 0;
}
