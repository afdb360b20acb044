// How given sites differ: each file is one site's features (shift_pools.py).
//
//   shift_sites a.npy b.npy c.npy d.npy [...]
//
// For each site: what the report says, the p-value of each test, and the
// estimated shares of the classes beside the labelled ones.

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/shift/shift_report.h"
#include "common/shift/shift_tests.h"
#include "tests/bench/experiments/feature_pool.h"

namespace fedgraft {
namespace {

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

double ShareOfOnes(const SimulatedRecords& records) {
  double ones = 0;
  for (int64_t label : records.labels) ones += static_cast<double>(label);
  return ones / static_cast<double>(records.labels.size());
}

int Main(int argc, char** argv) {
  SimulationOptions options;
  options.num_classes = 2;
  options.has_outputs = options.has_acquisition = options.has_devices = false;
  std::vector<std::string> names;
  std::vector<SimulatedRecords> records;
  for (int i = 1; i < argc; ++i) {
    const FeaturePool pool = Get(FeaturePool::Load(argv[i]));
    options.feature_dim = pool.feature_dim();
    std::vector<int64_t> rows(pool.count());
    for (int64_t r = 0; r < pool.count(); ++r) rows[r] = r;
    records.push_back(pool.Take(rows));
    names.push_back(std::filesystem::path(argv[i]).stem().string());
  }
  options.sites = static_cast<int>(records.size());
  const std::vector<ShiftScalars> scalars =
      Get(SketchAndTest(options, records, 1, options.sites));
  ShiftHistory history;
  for (size_t s = 0; s < names.size(); ++s) history[1][names[s]] = scalars[s];
  const ShiftReport report = Get(MakeShiftReport(history, {}));
  for (const SiteTriage& triage : report.triage) {
    size_t s = 0;
    while (names[s] != triage.site) ++s;
    std::printf("sites %s n %zu: %s\n", triage.site.c_str(),
                records[s].labels.size(), triage.verdict.c_str());
    for (const ShiftTestSpec& test : ShiftTests()) {
      const auto p = scalars[s].find(ShiftScalar(test.name, "p"));
      if (p == scalars[s].end()) continue;
      std::printf("  %s %.3g\n", std::string(test.name).c_str(), p->second);
    }
    const auto at = [&](const std::string& name) {
      const auto value = scalars[s].find(PriorScalar(1) + name);
      return value == scalars[s].end() ? -1 : value->second;
    };
    std::printf("  class 1: labelled %.3f, estimated %.3f (%.3f to %.3f)\n",
                ShareOfOnes(records[s]), at(""), at(".low"), at(".high"));
  }
  return 0;
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) { return fedgraft::Main(argc, argv); }
