// Every fuzz target on its committed seeds and on seeded mutations of them, in
// the ordinary test run. A finding of a longer run with libFuzzer becomes a
// seed, and so stays fixed.
//
// A target reports by aborting. The input is then left in the working folder
// as fuzz_crash_<target>, to be given to the libFuzzer binary.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "common/base/bytes.h"
#include "gtest/gtest.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/mutator.h"

// Generated: FG_FUZZ_TARGET(<name>) for each target. Its entry point is
// compiled under the name Fuzz_<name> here, so that one binary holds all.
#define FG_FUZZ_TARGET(name) \
  extern "C" int Fuzz_##name(const uint8_t* data, size_t size);
#include "tests/fuzz/fuzz_targets.inc"
#undef FG_FUZZ_TARGET

namespace fedgraft::fuzz {
namespace {

constexpr int kMutationsPerTarget = 2000;  // FEDGRAFT_FUZZ_MUTATIONS: others
constexpr size_t kCorpusBytesMax = 100'000;

struct Target {
  const char* name;
  int (*run)(const uint8_t*, size_t);
};
constexpr Target kTargets[] = {
#define FG_FUZZ_TARGET(name) {#name, Fuzz_##name},
#include "tests/fuzz/fuzz_targets.inc"
#undef FG_FUZZ_TARGET
};

int Mutations() {
  const char* number = std::getenv("FEDGRAFT_FUZZ_MUTATIONS");
  return number == nullptr ? kMutationsPerTarget : std::atoi(number);
}

std::filesystem::path SourceFolder() {
  const char* folder = std::getenv("FEDGRAFT_SOURCE_DIR");
  return folder == nullptr ? "." : folder;
}

// Seeds that are files of other tests or examples; others are in corpus/.
const std::map<std::string, std::string>& SharedSeeds() {
  static const auto* const folders = new std::map<std::string, std::string>{
      {"x509", "tests/vectors/x509"}, {"plan_yaml", "deploy/config"}};
  return *folders;
}

std::map<std::string, Bytes> ReadFolder(const std::filesystem::path& folder) {
  std::map<std::string, Bytes> files;
  if (!std::filesystem::is_directory(folder)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().string()] = Bytes(std::istreambuf_iterator<char>(in),
                                         std::istreambuf_iterator<char>());
  }
  return files;
}

// In the order of their names: mutations must not depend on the file system.
std::vector<Bytes> SeedsOf(const std::string& target) {
  auto files = ReadFolder(SourceFolder() / "tests/fuzz/corpus" / target);
  if (const auto shared = SharedSeeds().find(target);
      shared != SharedSeeds().end()) {
    files.merge(ReadFolder(SourceFolder() / shared->second));
  }
  std::vector<Bytes> seeds;
  for (auto& [name, content] : files) seeds.push_back(std::move(content));
  return seeds;
}

// What the signal handler saves.
struct Current {
  char path[128] = "";
  const uint8_t* data = nullptr;
  size_t size = 0;
} current;

extern "C" void SaveInputAndDie(int signal) {
  const int file = open(current.path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file >= 0) {
    const ssize_t written = write(file, current.data, current.size);
    const char text[] = "fuzz_corpus_test: the input was saved\n";
    if (written >= 0 && write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
      _exit(3);
    }
    close(file);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

void RunTarget(const Target& target, const Bytes& input) {
  // As libFuzzer does: a buffer of its own, so that a sanitizer sees the end.
  const std::vector<uint8_t> exact(input.begin(), input.end());
  current.data = exact.data();
  current.size = exact.size();
  ASSERT_EQ(target.run(exact.data(), exact.size()), 0);
}

class FuzzCorpusTest : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    std::snprintf(current.path, sizeof(current.path), "fuzz_crash_%s",
                  GetParam().name);
    for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) {
      std::signal(number, SaveInputAndDie);
    }
  }
  void TearDown() override {
    for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) {
      std::signal(number, SIG_DFL);
    }
  }
};

TEST_P(FuzzCorpusTest, SeedsRunClean) {
  const std::vector<Bytes> seeds = SeedsOf(GetParam().name);
  ASSERT_FALSE(seeds.empty()) << "no corpus";
  const uint64_t accepted = fuzz::accepted;
  for (const Bytes& seed : seeds) RunTarget(GetParam(), seed);
  EXPECT_GT(fuzz::accepted, accepted) << "every seed is refused";
  RunTarget(GetParam(), Bytes());
}

TEST_P(FuzzCorpusTest, MutationsRunClean) {
  const std::vector<Bytes> seeds = SeedsOf(GetParam().name);
  ASSERT_FALSE(seeds.empty()) << "no corpus";
  std::mt19937 random(20240711);
  const int mutations = Mutations();
  const uint64_t accepted = fuzz::accepted;
  for (int i = 0; i < mutations; ++i) {
    const Bytes& seed = seeds[static_cast<size_t>(i) % seeds.size()];
    const Bytes& other = seeds[random() % seeds.size()];
    RunTarget(GetParam(), Mutate(random, seed, other));
  }
  EXPECT_GT(fuzz::accepted, accepted) << "no mutation got past the parser";
  RecordProperty("accepted", std::to_string(fuzz::accepted - accepted));
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpusTest, ::testing::ValuesIn(kTargets),
                         [](const ::testing::TestParamInfo<Target>& info) {
                           return std::string(info.param.name);
                         });

TEST(FuzzCorpusFolderTest, EveryFolderHasATargetAndAllIsSmall) {
  size_t bytes = 0;
  // These are targets only where the trainer is built.
  std::vector<std::string> names = {"npy", "csv", "pickle"};
  for (const Target& target : kTargets) names.emplace_back(target.name);
  for (const auto& entry : std::filesystem::directory_iterator(
           SourceFolder() / "tests/fuzz/corpus")) {
    const std::string name = entry.path().filename().string();
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end())
        << name << " is the corpus of no target";
    for (const auto& [file, content] : ReadFolder(entry.path())) {
      bytes += content.size();
    }
  }
  EXPECT_LT(bytes, kCorpusBytesMax);
}

TEST(MutatorTest, IsAFunctionOfItsSeed) {
  const Bytes seed = ToBytes(AsBytes("some text")), other(5, 9);
  std::mt19937 one(3), two(3), third(4);
  Bytes first, second, unlike;
  for (int i = 0; i < 20; ++i) {
    first = Mutate(one, seed, other);
    second = Mutate(two, seed, other);
    unlike = Mutate(third, seed, other);
    ASSERT_EQ(first, second);
  }
  EXPECT_NE(first, unlike);
}

TEST(MutatorTest, TakesEmptySeeds) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LE(Mutate(random, Bytes(), Bytes()).size(), 4u * 64);
  }
}

}  // namespace
}  // namespace fedgraft::fuzz
