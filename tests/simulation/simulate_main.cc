// fedgraft-simulate: runs seeds of the simulation until one fails, and says how
// to reproduce that one.

#include <cstdint>
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "common/base/logging.h"
#include "tests/simulation/simulation.h"

namespace fedgraft::testing {
namespace {

std::string Command(const SimulationOptions& options) {
  return "fedgraft-simulate --seed " + std::to_string(options.seed) +
         " --runs 1 --sites " + std::to_string(options.sites) + " --rounds " +
         std::to_string(options.rounds) +
         (!options.secure.has_value() ? ""
          : *options.secure           ? " --secure on"
                                      : " --secure off") +
         " --verbose";
}

// False if the seed found something.
bool RunSeed(const SimulationOptions& options) {
  SimulationResult result = RunSimulation(options);
  if (result.ok() && result.quorum_is_all) {
    SimulationOptions undisturbed = options;
    undisturbed.faults = false;
    const SimulationResult reference = RunSimulation(undisturbed);
    if (!reference.ok()) {
      result.failure = "without faults: " + reference.failure;
    } else if (reference.model != result.model) {
      result.failure = "the final model is not that of the run without faults";
    }
  }
  std::printf(
      "seed %llu: %s, %.1f s simulated, %llu events, %llu messages, %llu "
      "crashes, %llu acknowledged, %s%llu sums begun again, model %s, trace "
      "%016llx\n",
      static_cast<unsigned long long>(options.seed),
      result.ok() ? "ok" : "FAILED", absl::ToDoubleSeconds(result.simulated),
      static_cast<unsigned long long>(result.events),
      static_cast<unsigned long long>(result.messages),
      static_cast<unsigned long long>(result.crashes),
      static_cast<unsigned long long>(result.acknowledged),
      result.secure ? "masked, " : "",
      static_cast<unsigned long long>(result.abandoned),
      result.model.Short().c_str(),
      static_cast<unsigned long long>(result.trace_hash));
  if (result.ok()) return true;
  std::printf("  %s\n  reproduce: %s\n", result.failure.c_str(),
              Command(options).c_str());
  return false;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Simulates runs with seeded faults and checks the coordinator's "
      "invariants after every event. Exit code 1 if a seed fails.\n\n"
      "  fedgraft-simulate --seed 1 --runs 1000 --sites 3");
  SimulationOptions options;
  uint64_t runs = 50;
  bool verbose = false;
  std::string secure = "seed";
  app.add_option("--seed", options.seed, "first seed")->capture_default_str();
  app.add_option("--runs", runs, "how many seeds")->capture_default_str();
  app.add_option("--sites", options.sites, "hospitals")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "rounds of each run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--secure", secure,
                 "secure aggregation where the rule allows it: on, off, or as "
                 "the seed has it")
      ->check(CLI::IsMember({"on", "off", "seed"}))
      ->capture_default_str();
  app.add_flag("--verbose", verbose, "show the log of both sides");
  CLI11_PARSE(app, argc, argv);
  SetUpLogging(verbose ? "debug" : "off", "text");
  if (secure != "seed") options.secure = secure == "on";
  uint64_t failed = 0;
  for (uint64_t i = 0; i < runs; ++i, ++options.seed) {
    if (!RunSeed(options)) ++failed;
  }
  std::printf("%llu of %llu seeds failed\n",
              static_cast<unsigned long long>(failed),
              static_cast<unsigned long long>(runs));
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fedgraft::testing

int main(int argc, char** argv) { return fedgraft::testing::Main(argc, argv); }
