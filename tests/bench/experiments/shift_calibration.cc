// Do the shift tests say what they claim? Simulated federations (normal
// classes, a logistic truth) whose sites differ in nothing or by a dial,
// through ring words, pooled sums, the sites' tests and the aggregator's
// report.
//
//   shift_calibration size|power|triage|alarms|onset|prior|transfer|noise
//                     [runs [n [first]]]
//
// n: of size, power, triage and noise, records a site, if not all of a list (0:
// all). first: number of the first run, of which all random numbers follow. One
// line a result, fields apart by spaces; docs/shift.md has the tables.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/shift/shift_report.h"
#include "client/shift/negative_transfer.h"
#include "common/base/check.h"
#include "common/shift/distributions.h"
#include "common/shift/efficient_score.h"
#include "common/shift/label_shift.h"
#include "common/shift/shift_tests.h"
#include "tests/bench/experiments/shift_noise.h"
#include "tests/shift/simulated_federation.h"

namespace fedgraft {
namespace {

using RunScalars = std::vector<ShiftScalars>;

// 0: all of each experiment's list.
int64_t only_records = 0;
std::vector<int64_t> RecordsOf(std::vector<int64_t> list) {
  return only_records == 0 ? std::move(list)
                           : std::vector<int64_t>{only_records};
}

uint64_t first_run = 0;

// The first site has the dials; `tested` sites are tested.
RunScalars RunOnce(const SimulationOptions& options, uint64_t seed,
                   const SiteDials& dials, int tested) {
  std::vector<SimulatedRecords> records;
  for (int s = 0; s < options.sites; ++s) {
    RecordSource source(options, seed * 1000003 + s * 7919 + options.records);
    records.push_back(
        source.Draw(options.records, s == 0 ? dials : SiteDials()));
  }
  auto scalars = SketchAndTest(options, records, seed, tested);
  FG_CHECK(scalars.ok());
  return *std::move(scalars);
}

double PValue(const ShiftScalars& scalars, std::string_view test) {
  const auto p = scalars.find(ShiftScalar(test, "p"));
  return p == scalars.end() ? 1 : p->second;
}

void Size(int runs) {
  std::printf("size n sites test tests at_0.05 at_0.01 at_0.001\n");
  for (int64_t n : RecordsOf({60, 100, 200, 500})) {
    for (int sites : {4, 8, 20}) {
      SimulationOptions options;
      options.records = n;
      options.sites = sites;
      std::map<std::string_view, std::vector<double>> values;
      for (int run = 0; run < runs; ++run) {
        for (const ShiftScalars& scalars :
             RunOnce(options, first_run + run, {}, 2)) {
          for (const ShiftTestSpec& test : ShiftTests()) {
            values[test.name].push_back(PValue(scalars, test.name));
          }
        }
      }
      for (const auto& [name, p] : values) {
        const auto share = [&p = p](double level) {
          return static_cast<double>(std::count_if(
                     p.begin(), p.end(),
                     [&](double value) { return value <= level; })) /
                 static_cast<double>(p.size());
        };
        std::printf("size %ld %d %s %zu %.4f %.4f %.4f\n", long{n}, sites,
                    std::string(name).c_str(), p.size(), share(0.05),
                    share(0.01), share(0.001));
      }
      std::fflush(stdout);
    }
  }
}

struct Dial {
  const char* name;
  SiteDials (*at)(double);
  std::vector<double> settings;
};

void Power(int runs) {
  const Dial dials[] = {
      {"covariate",
       [](double x) { return SiteDials{.covariate = x}; },
       {0.1, 0.2, 0.3, 0.5, 0.8}},
      {"label",
       [](double x) { return SiteDials{.label = x}; },
       {0.2, 0.4, 0.6, 0.9, 1.2}},
      {"concept",
       [](double x) { return SiteDials{.concept_change = x}; },
       {0.2, 0.35, 0.5, 0.7, 1, 2}}};
  std::printf("power dial setting n test rejected\n");
  for (const Dial& dial : dials) {
    for (int64_t n : RecordsOf({100, 200, 500})) {
      for (double setting : dial.settings) {
        SimulationOptions options;
        options.records = n;
        std::map<std::string_view, int> rejected;
        for (int run = 0; run < runs; ++run) {
          const RunScalars scalars =
              RunOnce(options, first_run + run, dial.at(setting), 1);
          for (const ShiftTestSpec& test : ShiftTests()) {
            rejected[test.name] += PValue(scalars[0], test.name) <= 0.05;
          }
        }
        for (const ShiftTestSpec& test : ShiftTests()) {
          std::printf("power %s %.2f %ld %s %.3f\n", dial.name, setting,
                      long{n}, std::string(test.name).c_str(),
                      static_cast<double>(rejected[test.name]) / runs);
        }
        std::fflush(stdout);
      }
    }
  }
}

std::string SiteName(int site) { return "s" + std::to_string(site); }

void Triage(int runs) {
  constexpr double kCovariate = 0.8, kLabel = 1.6, kConcept = 0.8;
  std::printf("triage n true named share\n");
  for (int64_t n : RecordsOf({200, 500})) {
    for (int kinds = 0; kinds < 8; ++kinds) {
      SimulationOptions options;
      options.records = n;
      SiteDials dials;
      std::string truth;
      const auto moved = [&](int bit, const char* name, double value) {
        if (!(kinds & bit)) return 0.0;
        truth += truth.empty() ? name : std::string("+") + name;
        return value;
      };
      dials.covariate = moved(1, "covariate", kCovariate);
      dials.label = moved(2, "label", kLabel);
      dials.concept_change = moved(4, "concept", kConcept);
      std::map<std::string, int> named;
      for (int run = 0; run < runs; ++run) {
        const RunScalars scalars =
            RunOnce(options, first_run + run, dials, options.sites);
        ShiftHistory history;
        for (int s = 0; s < options.sites; ++s) {
          history[1][SiteName(s)] = scalars[s];
        }
        const ShiftReport report = MakeShiftReport(history, {}).value();
        std::string name;
        for (ShiftKind kind : report.triage[0].kinds) {
          if (!name.empty()) name += '+';
          name += ShiftKindName(kind);
        }
        ++named[name.empty() ? "none" : name];
      }
      for (const auto& [name, count] : named) {
        std::printf("triage %ld %s %s %.3f\n", long{n},
                    truth.empty() ? "none" : truth.c_str(), name.c_str(),
                    static_cast<double>(count) / runs);
      }
      std::fflush(stdout);
    }
  }
}

// Runs of 50 rounds, new records in every round, nothing changes.
void Alarms(int runs) {
  SimulationOptions options;
  options.records = 60;
  int alarmed = 0;
  for (int run = 0; run < runs; ++run) {
    ShiftHistory history;
    for (uint32_t round = 1; round <= 50; ++round) {
      const RunScalars scalars =
          RunOnce(options, (first_run + run) * 50 + round, {}, options.sites);
      for (int s = 0; s < options.sites; ++s) {
        history[round][SiteName(s)] = scalars[s];
      }
    }
    ShiftReportOptions report_options;
    report_options.rounds = 50;
    const ShiftReport report = MakeShiftReport(history, report_options).value();
    alarmed += report.alarms.empty() ? 0 : 1;
    std::printf("alarms runs %d alarmed %d\n", run + 1, alarmed);
    std::fflush(stdout);
  }
}

// The deviates of one chart move by so many of their deviations at round 20.
void Onset(int runs) {
  std::printf("onset change within found runs\n");
  for (const auto& [change, within] :
       {std::pair<double, uint32_t>{2, 8}, {4, 4}}) {
    int found = 0;
    for (int run = 0; run < runs; ++run) {
      std::mt19937_64 random(first_run + run);
      std::normal_distribution<double> normal;
      ShiftHistory history;
      for (uint32_t round = 1; round < 20 + within; ++round) {
        for (int s = 0; s < 5; ++s) {
          std::map<std::string, double>& scalars = history[round][SiteName(s)];
          for (const ShiftTestSpec& test : ShiftTests()) {
            if (!(test.alarm_share > 0)) continue;
            double z = normal(random);
            if (s == 0 && test.name == "covariate_mmd" && round >= 20) {
              z += change;
            }
            scalars[ShiftScalar(test.name, "p")] = NormalTail(z);
          }
          scalars[std::string(kShiftNewRecords)] = 1;
        }
      }
      ShiftReportOptions options;
      options.rounds = 50;
      const ShiftReport report = MakeShiftReport(history, options).value();
      found += std::any_of(report.alarms.begin(), report.alarms.end(),
                           [](const ShiftAlarm& alarm) {
                             return alarm.site == "s0" &&
                                    alarm.test == "covariate_mmd" &&
                                    alarm.round >= 20;
                           });
    }
    std::printf("onset %.0f %u %.3f %d\n", change, within,
                static_cast<double>(found) / runs, runs);
  }
}

// Source shares .6/.3/.1, the site's .2/.3/.5.
void Prior(int runs) {
  const std::vector<double> source{0.6, 0.3, 0.1}, target{0.2, 0.3, 0.5};
  std::printf("prior n rmse_others_head rmse_true_posteriors covered\n");
  for (int64_t n : {100, 500, 2000}) {
    double squares = 0, oracle_squares = 0, covered = 0;
    for (int run = 0; run < runs; ++run) {
      SimulationOptions options;
      options.records = 1000;
      options.prior = source;
      std::vector<SimulatedRecords> records;
      for (int s = 0; s < options.sites; ++s) {
        RecordSource from(options, (first_run + run) * 100 + s);
        records.push_back(
            from.Draw(s == 0 ? n : options.records,
                      s == 0 ? SiteDials{.prior = target} : SiteDials()));
      }
      const auto tested = SketchAndTest(options, records, first_run + run, 1);
      FG_CHECK(tested.ok());
      const ShiftScalars& scalars = (*tested)[0];
      const RecordSource truth(options, 0);
      std::vector<double> posteriors;
      for (int64_t r = 0; r < n; ++r) {
        for (double p : truth.Posterior(records[0].features.data() +
                                        r * options.feature_dim)) {
          posteriors.push_back(p);
        }
      }
      const PriorEstimate oracle =
          EstimatePriorEm({posteriors, n, 3}, source).value();
      for (int c = 0; c < 3; ++c) {
        const std::string name = PriorScalar(c);
        squares += std::pow(scalars.at(name) - target[c], 2) / 3;
        oracle_squares += std::pow(oracle.prior[c] - target[c], 2) / 3;
        covered += (scalars.at(name + ".low") <= target[c] &&
                    target[c] <= scalars.at(name + ".high")) /
                   3.0;
      }
    }
    std::printf("prior %ld %.4f %.4f %.3f\n", long{n},
                std::sqrt(squares / runs), std::sqrt(oracle_squares / runs),
                covered / runs);
  }
}

// P(class 1) under a head, [n, 2].
std::vector<double> Scores(const ReferenceHead& head,
                           const SimulatedRecords& records, int64_t d) {
  std::vector<double> scores;
  for (size_t r = 0; r < records.labels.size(); ++r) {
    double logit = head.coefficients[0];
    for (int64_t i = 0; i < d; ++i) {
      logit += head.coefficients[1 + i] * records.features[r * d + i];
    }
    scores.push_back(1 / (1 + std::exp(logit)));
    scores.push_back(1 / (1 + std::exp(-logit)));
  }
  return scores;
}

// Four other sites' head against one of the site's own 200 records, on 200 that
// neither has seen.
void Transfer(int runs) {
  SimulationOptions options;
  options.num_classes = 2;
  options.feature_dim = 8;
  const int64_t d = options.feature_dim;
  const auto fit = [&](const SimulatedRecords& records) {
    return FitReferenceHead({records.features,
                             static_cast<int64_t>(records.labels.size()), d},
                            records.labels, 2, 1)
        .value();
  };
  std::printf("transfer site measure harms helps\n");
  for (const char* site : {"opposite", "exchangeable"}) {
    for (TransferMeasure measure :
         {TransferMeasure::kAuc, TransferMeasure::kBalancedAccuracy}) {
      int harms = 0, helps = 0;
      for (int run = 0; run < runs; ++run) {
        RecordSource source(options, (first_run + run) * 31 + 5);
        const SiteDials own{.concept_change =
                                site == std::string("opposite") ? 2.0 : 0.0};
        const SimulatedRecords others = source.Draw(800, {});
        const SimulatedRecords training = source.Draw(200, own);
        const SimulatedRecords held_out = source.Draw(200, own);
        const std::vector<double> federated = Scores(fit(others), held_out, d);
        const std::vector<double> local = Scores(fit(training), held_out, d);
        std::vector<int64_t> patients(200);
        for (int i = 0; i < 200; ++i) patients[i] = i;
        const TransferVerdict verdict = CompareTransfer({held_out.labels,
                                                         {federated, 200, 2},
                                                         {local, 200, 2},
                                                         patients},
                                                        measure, run)
                                            ->verdict;
        harms += verdict == TransferVerdict::kHarms;
        helps += verdict == TransferVerdict::kHelps;
      }
      std::printf(
          "transfer %s %s %.4f %.4f\n", site,
          measure == TransferMeasure::kAuc ? "auc" : "balanced_accuracy",
          static_cast<double>(harms) / runs, static_cast<double>(helps) / runs);
      std::fflush(stdout);
    }
  }
}

// shift_noise.h.
void Noise(int runs) {
  MeasureNoise(runs, first_run, RecordsOf({500, 2000, 10000}));
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  const std::map<std::string, std::pair<void (*)(int), int>> experiments{
      {"size", {fedgraft::Size, 2000}},
      {"power", {fedgraft::Power, 200}},
      {"triage", {fedgraft::Triage, 200}},
      {"alarms", {fedgraft::Alarms, 100}},
      {"onset", {fedgraft::Onset, 1000}},
      {"prior", {fedgraft::Prior, 200}},
      {"transfer", {fedgraft::Transfer, 400}},
      {"noise", {fedgraft::Noise, 100}}};
  const auto found = argc > 1 ? experiments.find(argv[1]) : experiments.end();
  if (found == experiments.end()) {
    std::fprintf(stderr,
                 "usage: shift_calibration "
                 "size|power|triage|alarms|onset|prior|transfer|noise "
                 "[runs [n [first]]]\n");
    return 2;
  }
  if (argc > 3) fedgraft::only_records = std::atoi(argv[3]);
  if (argc > 4) fedgraft::first_run = std::strtoull(argv[4], nullptr, 10);
  const auto& [run, runs] = found->second;
  run(argc > 2 ? std::atoi(argv[2]) : runs);
  return 0;
}
