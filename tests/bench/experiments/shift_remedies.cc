// What shift costs a site, and how much of that each remedy gives back, on
// features of phantom images (shift_pools.py).
//
//   shift_remedies remedies|transfer POOLS [runs]
//
// One line a result, fields apart by spaces; docs/shift.md has the tables.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "client/shift/negative_transfer.h"
#include "common/shift/importance.h"
#include "common/shift/label_shift.h"
#include "tests/bench/experiments/feature_pool.h"
#include "tests/bench/experiments/linear_head.h"

namespace fedgraft {
namespace {

using Eigen::MatrixXd;
using Eigen::RowVectorXd;
using Eigen::VectorXd;

constexpr int64_t kOthers = 2000, kOwn = 200, kTest = 800;
constexpr double kPull = 10;           // of slopes on standardised features
constexpr double kPersonalPull = 100;  // of a site's slopes to the shared ones
constexpr int64_t kCenters = 100;      // of kernels for importance weights

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

using Pools = std::map<std::string, FeaturePool>;

struct Part {
  MatrixXd rows;
  std::vector<int64_t> labels;
};

// The others' training records, and the site's for training, test, and to know
// what could be reached: none twice.
struct Case {
  Part others, own, test, best;
  RowVectorXd own_mean, own_deviation;  // in the others' deviations
};

Part Slice(const SimulatedRecords& all, int64_t from, int64_t count) {
  const MatrixXd rows = RowsOf(all);
  return {rows.middleRows(from, count),
          {all.labels.begin() + from, all.labels.begin() + from + count}};
}

// Features standardised by the others' records.
Case DrawCase(const FeaturePool& others, const FeaturePool& site,
              uint64_t seed) {
  std::mt19937_64 random(seed);
  Case drawn;
  const bool is_same = &others == &site;
  const SimulatedRecords of_others =
      others.Draw(is_same ? kOthers + kOwn + kTest + kOthers : kOthers, random);
  const SimulatedRecords of_site =
      is_same ? of_others : site.Draw(kOwn + kTest + kOthers, random);
  const int64_t from = is_same ? kOthers : 0;
  drawn.others = Slice(of_others, 0, kOthers);
  drawn.own = Slice(of_site, from, kOwn);
  drawn.test = Slice(of_site, from + kOwn, kTest);
  drawn.best = Slice(of_site, from + kOwn + kTest, kOthers);
  const RowVectorXd mean = drawn.others.rows.colwise().mean();
  const RowVectorXd deviation =
      ((drawn.others.rows.rowwise() - mean).array().square().colwise().mean())
          .sqrt()
          .max(1e-9);
  for (Part* part : {&drawn.others, &drawn.own, &drawn.test, &drawn.best}) {
    part->rows =
        (part->rows.rowwise() - mean).array().rowwise() / deviation.array();
  }
  drawn.own_mean = drawn.own.rows.colwise().mean();
  drawn.own_deviation = ((drawn.own.rows.rowwise() - drawn.own_mean)
                             .array()
                             .square()
                             .colwise()
                             .mean())
                            .sqrt()
                            .max(1e-9);
  return drawn;
}

std::vector<double> SharesOf(const std::vector<double>& scores) {
  std::vector<double> shares(2);
  for (size_t i = 0; i < scores.size(); ++i) {
    shares[i % 2] += 2 * scores[i] / static_cast<double>(scores.size());
  }
  return shares;
}

std::vector<double> SharesOf(const std::vector<int64_t>& labels) {
  double ones = 0;
  for (int64_t label : labels) ones += static_cast<double>(label);
  ones /= static_cast<double>(labels.size());
  return {1 - ones, ones};
}

MatrixView View(const std::vector<double>& scores) {
  return {scores, static_cast<int64_t>(scores.size()) / 2, 2};
}

std::vector<double> Flat(const MatrixXd& rows) {
  const MatrixXd transposed = rows.transpose();
  return {transposed.data(), transposed.data() + transposed.size()};
}

// Test scores after each remedy. Labels of the site's test records are used by
// none, those of its training records where the name says so.
std::map<std::string, std::vector<double>> Remedies(const Case& drawn) {
  std::map<std::string, std::vector<double>> scores;
  const VectorXd head =
      FitHead(drawn.others.rows, drawn.others.labels, {.pull = kPull});
  const std::vector<double> shared = ScoresOf(drawn.test.rows, head);
  scores["none"] = shared;
  scores["best"] =
      ScoresOf(drawn.test.rows,
               FitHead(drawn.best.rows, drawn.best.labels, {.pull = kPull}));
  scores["local_only"] =
      ScoresOf(drawn.test.rows,
               FitHead(drawn.own.rows, drawn.own.labels, {.pull = kPull}));
  scores["site_intercept"] = ScoresOf(
      drawn.test.rows,
      FitHead(drawn.own.rows, drawn.own.labels, {.pull = 1e9, .centre = head}));
  scores["personal_head"] = ScoresOf(
      drawn.test.rows, FitHead(drawn.own.rows, drawn.own.labels,
                               {.pull = kPersonalPull, .centre = head}));
  const MatrixXd aligned =
      (drawn.test.rows.rowwise() - drawn.own_mean).array().rowwise() /
      drawn.own_deviation.array();
  scores["local_normalization"] = ScoresOf(aligned, head);

  const std::vector<double> source =
      SharesOf(ScoresOf(drawn.others.rows, head));
  const auto estimate =
      EstimatePriorEm(View(ScoresOf(drawn.own.rows, head)), source);
  scores["prior_em"] =
      estimate.ok()
          ? Get(CorrectPosteriors(View(shared), source, estimate->prior))
          : shared;
  scores["prior_given"] =
      Get(CorrectPosteriors(View(shared), source, SharesOf(drawn.own.labels)));

  const std::vector<double> others = Flat(drawn.others.rows);
  const int64_t d = drawn.others.rows.cols();
  const MatrixView centers{absl::MakeConstSpan(others).subspan(0, kCenters * d),
                           kCenters, d};
  const double bandwidth = std::sqrt(static_cast<double>(d));
  const std::vector<double> kernel =
      Get(KernelValues({others, kOthers, d}, centers, bandwidth));
  const std::vector<double> own_rows = Flat(drawn.own.rows);
  const std::vector<double> own =
      Get(KernelValues({own_rows, kOwn, d}, centers, bandwidth));
  std::vector<double> target(kCenters);
  for (size_t i = 0; i < own.size(); ++i) target[i % kCenters] += own[i] / kOwn;
  const auto weights =
      FitImportance({kernel, kOthers, kCenters}, target, 0.1, 1);
  scores["importance_weights"] = shared;
  if (weights.ok()) {
    scores["importance_weights"] = ScoresOf(
        drawn.test.rows, FitHead(drawn.others.rows, drawn.others.labels,
                                 {.pull = kPull,
                                  .weights = Eigen::Map<const VectorXd>(
                                      weights->weights.data(), kOthers)}));
  }
  return scores;
}

void Remedy(const Pools& pools, int runs) {
  std::printf(
      "remedy setting name log_loss auc loss_recovered auc_recovered\n");
  for (const auto& [setting, pool] : pools) {
    std::map<std::string, double> loss, auc;
    for (int run = 0; run < runs; ++run) {
      const Case drawn = DrawCase(pools.at("none"), pool, run);
      for (const auto& [name, scores] : Remedies(drawn)) {
        loss[name] += LogLossOf(scores, drawn.test.labels) / runs;
        auc[name] += AucOf(scores, drawn.test.labels) / runs;
      }
    }
    // Where next to nothing was lost, nothing can be recovered: nan.
    const auto recovered = [](double gained, double lost, double least) {
      return lost < least ? std::nan("") : gained / lost;
    };
    for (const auto& [name, value] : loss) {
      std::printf(
          "remedy %s %s %.4f %.4f %.2f %.2f\n", setting.c_str(), name.c_str(),
          value, auc[name],
          recovered(loss["none"] - value, loss["none"] - loss["best"], 0.02),
          recovered(auc[name] - auc["none"], auc["best"] - auc["none"], 0.01));
    }
    std::fflush(stdout);
  }
}

// The others' head against one of the site's own records.
void Transfer(const Pools& pools, int runs) {
  std::printf("phantom_transfer site measure harms helps runs\n");
  for (const bool is_opposite : {true, false}) {
    for (TransferMeasure measure :
         {TransferMeasure::kAuc, TransferMeasure::kBalancedAccuracy}) {
      int harms = 0, helps = 0;
      for (int run = 0; run < runs; ++run) {
        Case drawn = DrawCase(pools.at("none"), pools.at("none"), run);
        drawn.test = {
            drawn.test.rows.topRows(kOwn),
            {drawn.test.labels.begin(), drawn.test.labels.begin() + kOwn}};
        for (Part* part : {&drawn.own, &drawn.test}) {
          for (int64_t& label : part->labels) {
            if (is_opposite) label = 1 - label;
          }
        }
        const std::vector<double> federated = ScoresOf(
            drawn.test.rows,
            FitHead(drawn.others.rows, drawn.others.labels, {.pull = kPull}));
        const std::vector<double> local = ScoresOf(
            drawn.test.rows,
            FitHead(drawn.own.rows, drawn.own.labels, {.pull = kPull}));
        std::vector<int64_t> patients(kOwn);
        for (int64_t i = 0; i < kOwn; ++i) patients[i] = i;
        const TransferVerdict verdict =
            Get(CompareTransfer(
                    {drawn.test.labels, View(federated), View(local), patients},
                    measure, run))
                .verdict;
        harms += verdict == TransferVerdict::kHarms;
        helps += verdict == TransferVerdict::kHelps;
      }
      std::printf(
          "phantom_transfer %s %s %.4f %.4f %d\n",
          is_opposite ? "opposite" : "exchangeable",
          measure == TransferMeasure::kAuc ? "auc" : "balanced_accuracy",
          static_cast<double>(harms) / runs, static_cast<double>(helps) / runs,
          runs);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  using namespace fedgraft;
  const std::map<std::string, void (*)(const Pools&, int)> experiments{
      {"remedies", Remedy}, {"transfer", Transfer}};
  const auto found = argc > 2 ? experiments.find(argv[1]) : experiments.end();
  if (found == experiments.end()) {
    std::fprintf(stderr,
                 "usage: shift_remedies remedies|transfer POOLS [runs]\n");
    return 2;
  }
  Pools pools;
  for (const char* setting :
       {"none", "covariate", "covariate_strong", "label", "concept"}) {
    pools.emplace(setting, Get(FeaturePool::Load(std::string(argv[2]) + "/" +
                                                 setting + ".npy")));
  }
  found->second(pools, argc > 3 ? std::atoi(argv[3]) : 200);
  return 0;
}
