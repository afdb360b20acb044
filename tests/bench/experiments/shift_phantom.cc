// The shift tests on images of known truth: federations drawn from pools of
// features of the phantom (shift_pools.py makes one pool for each setting of
// its dials), through the sites' tests and the aggregator's report.
//
//   shift_phantom triage|pvalues POOLS [runs [n [first]]]
//
// n: records a site, if not 200 and 500. One line a result, fields apart by
// spaces, as shift_calibration.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/shift/shift_report.h"
#include "common/shift/shift_tests.h"
#include "tests/bench/experiments/feature_pool.h"

namespace fedgraft {
namespace {

constexpr int kSites = 5;
constexpr const char* kSettings[] = {"none",
                                     "covariate",
                                     "label",
                                     "concept",
                                     "covariate_strong",
                                     "covariate+label",
                                     "covariate+concept",
                                     "label+concept",
                                     "covariate+label+concept"};

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

// Of which all random numbers follow.
uint64_t first_run = 0;

using Pools = std::map<std::string, FeaturePool>;
using Counts = std::vector<int64_t>;  // of a site's records

// All sites' scalars; the first site's records are of `setting`.
std::vector<ShiftScalars> RunOnce(const Pools& pools,
                                  const std::string& setting, int64_t n,
                                  uint64_t seed) {
  SimulationOptions options;
  options.sites = kSites;
  options.num_classes = 2;
  options.feature_dim = pools.at("none").feature_dim();
  options.has_outputs = options.has_acquisition = options.has_devices = false;
  std::mt19937_64 random(seed * 1000003 + n);
  std::vector<SimulatedRecords> records;
  records.push_back(pools.at(setting).Draw(n, random));
  // One draw for the others: no record at two sites.
  const FeaturePool& none = pools.at("none");
  std::vector<int64_t> rows(none.count());
  for (int64_t i = 0; i < none.count(); ++i) rows[i] = i;
  std::shuffle(rows.begin(), rows.end(), random);
  const bool is_none = setting == "none";
  if (is_none) records.clear();
  for (int s = is_none ? 0 : 1; s < kSites; ++s) {
    records.push_back(
        none.Take({rows.begin() + s * n, rows.begin() + (s + 1) * n}));
  }
  return Get(SketchAndTest(options, records, seed, kSites));
}

std::string NameOf(const std::vector<ShiftScalars>& scalars) {
  ShiftHistory history;
  for (size_t s = 0; s < scalars.size(); ++s) {
    history[1]["s" + std::to_string(s)] = scalars[s];
  }
  const ShiftReport report = Get(MakeShiftReport(history, {}));
  std::string name;
  for (ShiftKind kind : report.triage[0].kinds) {
    if (!name.empty()) name += '+';
    name += ShiftKindName(kind);
  }
  return name.empty() ? "none" : name;
}

void Triage(const Pools& pools, int runs, const Counts& counts) {
  std::printf("triage n true named share\n");
  for (int64_t n : counts) {
    for (const char* setting : kSettings) {
      std::map<std::string, int> named;
      for (int run = 0; run < runs; ++run) {
        ++named[NameOf(RunOnce(pools, setting, n, first_run + run))];
      }
      for (const auto& [name, count] : named) {
        std::printf("triage %ld %s %s %.3f\n", long{n}, setting, name.c_str(),
                    static_cast<double>(count) / runs);
      }
      std::fflush(stdout);
    }
  }
}

void PValues(const Pools& pools, int runs, const Counts& counts) {
  std::printf("pvalues n setting name p...\n");
  for (int64_t n : counts) {
    for (const char* setting : kSettings) {
      for (int run = 0; run < runs; ++run) {
        const auto scalars = RunOnce(pools, setting, n, first_run + run);
        std::printf("pvalues %ld %s %s", long{n}, setting,
                    NameOf(scalars).c_str());
        for (const auto& [name, value] : scalars[0]) {
          std::printf(" %s %.4g", name.c_str(), value);
        }
        std::printf("\n");
      }
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  using namespace fedgraft;
  const std::map<std::string, void (*)(const Pools&, int, const Counts&)>
      experiments{{"triage", Triage}, {"pvalues", PValues}};
  const auto found = argc > 2 ? experiments.find(argv[1]) : experiments.end();
  if (found == experiments.end()) {
    std::fprintf(
        stderr,
        "usage: shift_phantom triage|pvalues POOLS [runs [n [first]]]\n");
    return 2;
  }
  Pools pools;
  for (const char* setting : kSettings) {
    pools.emplace(setting, Get(FeaturePool::Load(std::string(argv[2]) + "/" +
                                                 setting + ".npy")));
  }
  if (argc > 5) first_run = std::strtoull(argv[5], nullptr, 10);
  found->second(pools, argc > 3 ? std::atoi(argv[3]) : 200,
                argc > 4 ? Counts{std::atoi(argv[4])} : Counts{200, 500});
  return 0;
}
