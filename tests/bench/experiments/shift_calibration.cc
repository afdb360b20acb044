#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "tests/shift/simulated_federation.h"

using namespace fedgraft;
int main(int argc, char** argv) {
  const int federations = argc > 1 ? std::atoi(argv[1]) : 200;
  std::vector<int> sizes{60, 100, 200, 500}, sites{4, 8, 20};
  if (argc > 2) sizes = {std::atoi(argv[2])};
  if (argc > 3) sites = {std::atoi(argv[3])};
  SimulationOptions options;
  if (argc > 4) options.num_classes = std::atoi(argv[4]);
  if (argc > 5) options.heavy_tails = std::atoi(argv[5]);
  SiteDials dials;
  if (argc > 6) dials.covariate = std::atof(argv[6]);
  if (argc > 7) dials.label = std::atof(argv[7]);
  if (argc > 8) dials.concept_change = std::atof(argv[8]);
  for (int n : sizes) for (int k : sites) {
    options.records = n; options.sites = k;
    std::map<std::string, std::pair<int,int>> count; std::map<std::string,int> c01, c001;
    for (int f = 0; f < federations; ++f) {
      std::vector<SimulatedRecords> records;
      for (int s = 0; s < k; ++s) {
        RecordSource source(options, 1000003ull * f + 7919ull * s + n * 31 + k);
        records.push_back(source.Draw(n, s == 0 ? dials : SiteDials()));
      }
      const int tested = argc > 6 ? 1 : std::min(k, 4);
      auto r = SketchAndTest(options, records, f, tested);
      if (!r.ok()) { std::printf("%s\n", r.status().ToString().c_str()); return 1; }
      for (auto& s : *r) for (auto& [name, v] : s) if (name.size() > 2 && name.substr(name.size()-2) == ".p") {
        auto& c = count[name]; ++c.first; c.second += v <= 0.05; c01[name] += v <= .01; c001[name] += v <= .001;
      }
    }
    std::printf("n=%d K=%d\n", n, k);
    for (auto& [name, c] : count) std::printf("  %-32s %6d %.4f %.4f %.5f\n", name.c_str(), c.first, double(c.second)/c.first, double(c01[name])/c.first, double(c001[name])/c.first);
    std::fflush(stdout);
  }
}
