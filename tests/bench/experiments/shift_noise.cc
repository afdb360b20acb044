#include "tests/bench/experiments/shift_noise.h"

#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "common/privacy/epsilon.h"
#include "common/shift/shift_tests.h"
#include "common/shift/sketch.h"
#include "tests/bench/experiments/noised_looks.h"

namespace fedgraft {
namespace {

constexpr double kDelta = 1e-5;
constexpr double kLevel = 0.05;
constexpr int kSites[] = {4, 8, 20};
constexpr int kTested = 2;  // sites of a federation without shift

// How far out a simulated record may be, in deviations of a feature and of an
// acquisition number: hardly any is.
constexpr double kFeatureNorm = 9, kAcquisitionNorm = 10;

enum class Noised { kNothing, kEveryStage, kLastStage, kWithoutHead };

struct Setting {
  const char* name;
  // Features and acquisition numbers are as large as their bounds let them be,
  // so that noise is as small beside them as it can be. Else features have a
  // deviation of 1.
  bool is_filled;
  Noised noised;
  double epsilon;  // of a whole look
};

constexpr Setting kSettings[] = {
    {"exact", true, Noised::kNothing, 0},
    {"wide", false, Noised::kEveryStage, 8},
    {"wide", false, Noised::kEveryStage, 20},
    {"every_stage", true, Noised::kEveryStage, 1},
    {"every_stage", true, Noised::kEveryStage, 4},
    {"every_stage", true, Noised::kEveryStage, 8},
    {"every_stage", true, Noised::kEveryStage, 20},
    {"every_stage", true, Noised::kEveryStage, 100},
    {"last_stage", true, Noised::kLastStage, 1},
    {"last_stage", true, Noised::kLastStage, 4},
    {"last_stage", true, Noised::kLastStage, 8},
    {"last_stage", true, Noised::kLastStage, 20},
    {"without_head", true, Noised::kWithoutHead, 1},
    {"without_head", true, Noised::kWithoutHead, 4},
    {"without_head", true, Noised::kWithoutHead, 8},
};

double MultiplierOf(const Setting& setting) {
  if (setting.noised == Noised::kNothing) return 0;
  // Moments, a head of the most steps, summary.
  const double stages = setting.noised == Noised::kEveryStage
                            ? kSketchHeadStepsMax + 2
                        : setting.noised == Noised::kWithoutHead ? 2
                                                                 : 1;
  return NoiseMultiplierFor(setting.epsilon, kDelta, /*rate=*/1, stages)
      .value();
}

SimulatedRecords Filled(SimulatedRecords records) {
  for (double& x : records.features) x *= kSketchFeatureNormMax / kFeatureNorm;
  for (double& x : records.acquisition) x *= kAcquisitionMax / kAcquisitionNorm;
  return records;
}

// Medium settings, by the kind that they move; the first moves nothing.
const std::pair<std::string_view, SiteDials> kDials[] = {
    {"none", {}},
    {"covariate", {.covariate = 0.8}},
    {"label", {.label = 1.6}},
    {"concept", {.concept_change = 0.8}}};

// Drawn once a run: each site's records, and the first site's at every dial.
struct Drawn {
  std::vector<SimulatedRecords> first, others;
};

Drawn Draw(const SimulationOptions& options, int sites, uint64_t seed) {
  Drawn drawn;
  const auto draw = [&](int site, const SiteDials& dials) {
    return RecordSource(options, seed * 1000003 + site * 7919 + options.records)
        .Draw(options.records, dials);
  };
  for (const auto& [name, dials] : kDials) {
    drawn.first.push_back(draw(0, dials));
  }
  for (int s = 1; s < sites; ++s) drawn.others.push_back(draw(s, {}));
  return drawn;
}

Drawn Filled(const Drawn& drawn) {
  Drawn filled;
  for (const auto& records : drawn.first) {
    filled.first.push_back(Filled(records));
  }
  for (const auto& records : drawn.others) {
    filled.others.push_back(Filled(records));
  }
  return filled;
}

struct Share {
  int of = 0, count = 0;
  void Add(bool is_so) {
    ++of;
    count += is_so ? 1 : 0;
  }
  double value() const {
    return of > 0 ? static_cast<double>(count) / of : std::nan("");
  }
  // `together`: how many come from one federation.
  double error(int together) const {
    return std::sqrt(value() * (1 - value()) * together / of);
  }
};

struct Cell {
  Share ends[4];
  std::map<std::string_view, Share> sizes, powers;  // by test
};

// One look of the first dial counts for ends and sizes, of others for power.
void Take(const LookResult& look, size_t dial, Cell& cell) {
  for (int end = 0; end < 4 && dial == 0; ++end) {
    cell.ends[end].Add(look.end == static_cast<LookEnd>(end));
  }
  for (const auto& p_values : look.p_values) {
    for (const auto& [test, p] : p_values) {
      const ShiftKind kind = test == kMmdOfNoise ? ShiftKind::kCovariate
                                                 : FindShiftTest(test)->kind;
      if (dial > 0 && kDials[dial].first != ShiftKindName(kind)) continue;
      (dial == 0 ? cell.sizes : cell.powers)[test].Add(p <= kLevel);
    }
  }
}

void Print(const Setting& setting, int64_t n, int sites, const Cell& cell) {
  char where[96];
  std::snprintf(where, sizeof(where), "%s %g %ld %d", setting.name,
                setting.epsilon, long{n}, sites);
  std::printf("noise_looks %s %.3f %d", where, MultiplierOf(setting),
              cell.ends[0].of);
  for (const Share& end : cell.ends) std::printf(" %.3f", end.value());
  std::printf("\n");
  for (const auto& [test, size] : cell.sizes) {
    const auto found = cell.powers.find(test);
    const Share power = found == cell.powers.end() ? Share() : found->second;
    std::printf("noise %s %s %d %.3f %.3f %d %.3f %.3f\n", where,
                std::string(test).c_str(), size.of, size.value(),
                size.error(kTested), power.of, power.value(), power.error(1));
  }
  std::fflush(stdout);
}

LookResult LookOf(const Setting& setting, NoisedLooks& looks) {
  const double multiplier = MultiplierOf(setting);
  switch (setting.noised) {
    case Noised::kNothing:
      break;
    case Noised::kEveryStage:
      return looks.EveryStage(multiplier);
    case Noised::kLastStage:
      return looks.LastStage(multiplier);
    case Noised::kWithoutHead:
      return looks.WithoutHead(multiplier);
  }
  return looks.Exact();
}

using Cells = std::map<std::pair<int, size_t>, Cell>;  // sites, setting

// All settings with the dial for one number of sites; settings whose look
// without shift had no end are left out with it.
void RunDial(const SimulationOptions& options, const Drawn& wide,
             const Drawn& filled, uint64_t seed, size_t dial,
             std::vector<bool>& has_end, Cells& cells) {
  const auto looks_of = [&](const Drawn& drawn) {
    std::vector<const SimulatedRecords*> records{&drawn.first[dial]};
    for (int s = 1; s < options.sites; ++s) {
      records.push_back(&drawn.others[s - 1]);
    }
    return NoisedLooks(options, std::move(records), seed,
                       dial == 0 ? kTested : 1);
  };
  NoisedLooks looks_wide = looks_of(wide), looks_filled = looks_of(filled);
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    const Setting& setting = kSettings[i];
    if (!has_end[i]) continue;
    NoisedLooks& looks = setting.is_filled ? looks_filled : looks_wide;
    const LookResult look = LookOf(setting, looks);
    if (dial == 0) has_end[i] = look.end == LookEnd::kDone;
    Take(look, dial, cells[{options.sites, i}]);
  }
}

}  // namespace

void MeasureNoise(int runs, uint64_t first_run,
                  const std::vector<int64_t>& records) {
  std::printf(
      "noise_looks noised epsilon n sites multiplier looks done flat open "
      "refused\nnoise noised epsilon n sites test tests size error looks power "
      "error\n");
  for (const int64_t n : records) {
    SimulationOptions options;
    options.records = n;
    Cells cells;
    for (int run = 0; run < runs; ++run) {
      const uint64_t seed = first_run + run;
      const Drawn wide = Draw(options, kSites[std::size(kSites) - 1], seed);
      const Drawn filled = Filled(wide);
      for (const int sites : kSites) {
        options.sites = sites;
        std::vector<bool> has_end(std::size(kSettings), true);
        for (size_t dial = 0; dial < std::size(kDials); ++dial) {
          RunDial(options, wide, filled, seed, dial, has_end, cells);
        }
      }
    }
    for (const auto& [key, cell] : cells) {
      Print(kSettings[key.second], n, key.first, cell);
    }
  }
}

}  // namespace fedgraft
