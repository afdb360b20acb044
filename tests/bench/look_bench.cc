// What looks at shift cost beside warm rounds of training: one aggregator and
// four sites with real trainers on this machine, mutual TLS, sealed updates,
// every acknowledgement durable on the file system of TMPDIR. The same plan
// runs without and with looks; the features are cached before. The first two
// rows are of few records, whose rounds are short; the last of as many as a
// hospital has.
// Usage: look_bench [rounds [every [records [records of the last row]]]]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/check.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "tests/bench/table.h"
#include "tests/integration/federation.h"

namespace fedgraft::testing {
namespace {

constexpr int kSites = 4;

struct Options {
  int rounds = 60, every = 10, records = 500, hospital_records = 2000;
};

// Random weights that keep activations finite: He's bound for matrices, and
// BatchNorm that does nothing.
std::string RandomBackbone(const std::string& architecture) {
  const auto known = FindArchitecture(architecture);
  FG_CHECK(known.ok());
  std::mt19937_64 random(1);
  std::map<std::string, Bytes> data;
  std::map<std::string, TensorToWrite> tensors;
  for (const auto& [name, shape] : BackboneTensors(*known)) {
    size_t count = 1, fan_in = 1;
    for (size_t k = 0; k < shape.size(); ++k) {
      count *= static_cast<size_t>(shape[k]);
      if (k > 0) fan_in *= static_cast<size_t>(shape[k]);
    }
    const float bound = std::sqrt(6.0f / static_cast<float>(fan_in));
    std::uniform_real_distribution<float> weight(-bound, bound);
    std::vector<float> values(count, 0.0f);
    for (float& value : values) {
      if (shape.size() > 1) value = weight(random);
      if (shape.size() == 1 && !absl::EndsWith(name, "bias") &&
          !absl::EndsWith(name, "running_mean")) {
        value = 1;
      }
    }
    Bytes& bytes = data[name];
    bytes.resize(count * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    tensors[name] = {DType::kF32, shape, bytes};
  }
  const auto encoded = EncodeSafetensors(tensors, {});
  FG_CHECK(encoded.ok());
  return std::string(AsText(*encoded));
}

// When the aggregator said something, from its log.
struct Moment {
  absl::Time time;
  bool is_model = false;  // else: the sum of a look's stage
};
std::vector<Moment> MomentsOf(const std::string& log) {
  std::vector<Moment> moments;
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    const bool is_model = absl::StrContains(line, ": model ");
    if (!is_model && !absl::StrContains(line, ": sketches of ")) continue;
    std::string error;
    Moment moment;
    moment.is_model = is_model;
    if (absl::ParseTime("%Y-%m-%d %H:%M:%E*S", line.substr(0, 23), &moment.time,
                        &error)) {
      moments.push_back(moment);
    }
  }
  return moments;
}

struct Times {
  double round_ms = 0;  // mean, from the first round's end to the run's
  std::vector<std::vector<double>> looks_ms;  // by stage
};

class Bench {
 public:
  explicit Bench(int records) : records_(records), federation_(kSites) {
    const std::string content = RandomBackbone("mobilenet_v2");
    std::ofstream(Backbone()) << content;
    digest_ = Sha256(AsBytes(content)).Hex();
  }
  bool Start() {
    if (!federation_.StartAggregator()) return false;
    for (int i = 0; i < kSites; ++i) {
      federation_.ConfigureSite(
          i,
          {absl::StrCat("aggregator: 127.0.0.1:", federation_.SitePort()),
           absl::StrCat("trainer: {binary: ", BuiltProgram("fedgraft-trainer"),
                        "}"),
           "compute: {device: cpu, threads: 1}",
           "policy: {cohort_min: 3, rounds_max: 100000, share_site_scalars: "
           "true}",
           absl::StrCat("data: {kind: phantom, phantom: {seed: ", i + 1,
                        ", train: ", records_, ", val: 8, test: 8, size: 64}}"),
           "log: {level: warning}"});
    }
    federation_.StartSites();
    return true;
  }
  // False: it did not come to its end.
  bool Run(const std::string& strategy, int rounds, int every, Times& times) {
    PlanText plan;
    plan.rounds = rounds;
    plan.quorum = kSites;
    plan.architecture = "mobilenet_v2";
    plan.strategy = strategy;
    plan.backbone_sha256 = digest_;
    plan.more =
        absl::StrCat("local: {epochs: 1, optimizer: {learning_rate: 0.001}}\n",
                     "shift: {every: ", every, "}");
    std::ofstream(federation_.Path("plan.yaml"))
        << absl::StrReplaceAll(plan.ToYaml(""), {{"{size: 32}", "{size: 64}"}});
    const size_t before = federation_.AggregatorLog().size();
    const CommandResult start = federation_.Aggregator(
        {"run", "start", "--config", federation_.AggregatorConfig(),
         "--backbone", Backbone(), federation_.Path("plan.yaml")});
    if (start.exit_code != 0) {
      std::fputs(start.err.c_str(), stderr);
      return false;
    }
    const absl::Time begin = absl::Now();
    while (federation_.Status().state() != "finished") {
      if (absl::Now() - begin > absl::Minutes(20)) {
        std::fputs(federation_.Logs().c_str(), stderr);
        return false;
      }
      absl::SleepFor(absl::Milliseconds(200));
    }
    times = TimesOf(MomentsOf(federation_.AggregatorLog().substr(before)));
    return true;
  }

 private:
  std::string Backbone() const {
    return federation_.Path("random.safetensors");
  }
  static Times TimesOf(const std::vector<Moment>& moments) {
    Times times;
    const auto first =
        std::find_if(moments.begin(), moments.end(),
                     [](const Moment& moment) { return moment.is_model; });
    double models = 0;
    bool in_look = false;
    for (auto moment = first; moment != moments.end(); ++moment) {
      if (moment == first) continue;
      if (moment->is_model) {
        ++models;
      } else {
        if (!in_look) times.looks_ms.emplace_back();
        times.looks_ms.back().push_back(
            absl::ToDoubleMilliseconds(moment->time - (moment - 1)->time));
      }
      in_look = !moment->is_model;
    }
    if (!(models > 0)) return times;
    times.round_ms =
        absl::ToDoubleMilliseconds(moments.back().time - first->time) / models;
    return times;
  }

  const int records_;
  Federation federation_;
  std::string digest_;
};

struct Row {
  std::string name;
  std::string strategy;
};

bool RunRow(Bench& bench, const Row& row, const Options& options) {
  Times cold, plain, looks;
  if (!bench.Run(row.strategy, 2, 0, cold) ||
      !bench.Run(row.strategy, options.rounds, 0, plain) ||
      !bench.Run(row.strategy, options.rounds, options.every, looks)) {
    return false;
  }
  std::printf(
      "%s: warm round %.2f ms; with looks every %d rounds %.2f ms; stages",
      row.name.c_str(), plain.round_ms, options.every, looks.round_ms);
  double all = 0, first = 0;
  for (const std::vector<double>& look : looks.looks_ms) {
    for (const double ms : look) {
      std::printf(" %.0f", ms);
      all += ms;
    }
    if (first == 0) first = all;
    std::printf(";");
  }
  std::printf(" ms\n");
  // Beside the rounds of the same run: what else the machine does changes from
  // one run to the next.
  const double a_round = all / (options.rounds - 1);
  const double training = looks.round_ms - a_round;
  bench::PrintRow(
      absl::StrCat("looks at shift, ", row.name, ", every ", options.every),
      bench::Format("%.2f ms a round", a_round),
      bench::Format("%.2f ms", training), a_round / training, "<= 0.05");
  const auto later = static_cast<double>(looks.looks_ms.size()) - 1;
  if (!(later > 0)) return true;
  const double a_look = (all - first) / later;
  bench::PrintRow(absl::StrCat("looks after the first, ", row.name),
                  bench::Format("%.1f ms a look", a_look),
                  bench::Format("%.0f ms", options.every * training),
                  a_look / (options.every * training), "<= 0.05");
  return true;
}

}  // namespace
}  // namespace fedgraft::testing

int main(int argc, char** argv) {
  using fedgraft::testing::Row;
  fedgraft::testing::Options options;
  if (argc > 1) options.rounds = std::atoi(argv[1]);
  if (argc > 2) options.every = std::atoi(argv[2]);
  if (argc > 3) options.records = std::atoi(argv[3]);
  if (argc > 4) options.hospital_records = std::atoi(argv[4]);
  const std::string few = absl::StrCat(", ", options.records, " records");
  const std::string many =
      absl::StrCat(", ", options.hospital_records, " records");
  const Row probe{"linear probe" + few, "kind: linear_probe"};
  const Row partial{"last block" + few,
                    "kind: partial, unfreeze: [\"features.18.*\"]"};
  const Row hospital{"linear probe" + many, "kind: linear_probe"};
  {
    fedgraft::testing::Bench bench(options.records);
    if (!bench.Start() || !RunRow(bench, probe, options) ||
        !RunRow(bench, partial, options)) {
      return 1;
    }
  }
  fedgraft::testing::Bench bench(options.hospital_records);
  return bench.Start() && RunRow(bench, hospital, options) ? 0 : 1;
}
