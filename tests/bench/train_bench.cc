// Local training, measured: what train_bench.py compares with Python loops on
// the same LibTorch. Prints one line of seconds per repetition:
//   train_bench <task> <repetitions> <images> <threads> <work folder>
// Tasks: full_step, probe_backbone, probe_warm, partial_backbone, partial_warm.
// An epoch takes every image once, in batches of 32; a full_step 16 images.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/features/feature_cache.h"
#include "client/model/network_state.h"
#include "client/train/learner.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/model/trainable_set.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

struct Arguments {
  std::string task;
  int repetitions = 0, images = 0, threads = 0;
  std::string folder;
};

Plan PlanFor(const std::string& task) {
  Plan plan;
  plan.classes = {"a", "b"};
  plan.preprocessing.size = 128;
  plan.local_epochs = 1;
  plan.batch_size = 32;
  plan.optimizer.momentum = 0.9;
  plan.optimizer.weight_decay = 1e-4;
  plan.architecture = "mobilenet_v2";
  if (task == "full_step") {
    plan.architecture = "resnet18";
    plan.strategy = StrategyKind::kFull;
    plan.batch_norm = BatchNormPolicy::kPooled;
    plan.batch_size = 16;
  } else if (task.starts_with("partial")) {
    plan.strategy = StrategyKind::kPartial;
    plan.unfreeze = {"features.18.*"};
  }
  return plan;
}

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since)
      .count();
}

// Everything that a session makes of a plan.
class Site {
 public:
  explicit Site(const Arguments& arguments)
      : plan_(PlanFor(arguments.task)),
        source_({.train = arguments.images, .val = 0, .test = 0, .size = 128}),
        preprocessor_(*Preprocessor::Create(plan_.preprocessing)),
        network_(testing::SeededNetwork(plan_.architecture, 2)),
        compute_(*SetUpCompute({"cpu", arguments.threads, "none"})) {
    const SafetensorsFile file =
        *SafetensorsFile::Parse(*EncodeState(*network_, {}), "seeded");
    ParameterLayout layout = *TrainableLayout(plan_, file);
    learner_ = *Learner::Create(plan_, layout, network_, compute_);
    FG_CHECK(
        learner_->SetValues(*InitialTrainableSet(plan_, layout, file)).ok());
    FeatureCacheSpec spec;
    spec.folder = arguments.folder;
    spec.bytes_max = uint64_t{1} << 30;
    cache_ = *FeatureCache::Open(spec);
    ActivationStore::Options options;
    options.network = network_.get();
    options.compute = &compute_;
    options.source = &source_;
    options.preprocessor = &preprocessor_;
    const bool warm = arguments.task.ends_with("warm");
    options.stage = warm ? learner_->boundary() : 0;
    options.cache = warm ? cache_.get() : nullptr;
    options.space.bytes[0] = static_cast<uint8_t>(options.stage);
    store_ = *ActivationStore::Create(options, testing::Silent);
  }
  void Epoch(int round) {
    FG_CHECK(learner_->TrainRound(round, *store_, testing::Silent).ok());
  }

 private:
  Plan plan_;
  testing::FakeSource source_;
  Preprocessor preprocessor_;
  std::shared_ptr<Network> network_;
  Compute compute_;
  std::unique_ptr<FeatureCache> cache_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<ActivationStore> store_;
};

int Main(const Arguments& arguments) {
  SetUpLogging("warning", "text");
  Site site(arguments);
  site.Epoch(1);
  for (int i = 0; i < arguments.repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    site.Epoch(i + 2);
    std::printf("%.9f\n", Seconds(start));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr,
                 "usage: train_bench task repetitions images threads "
                 "folder\n");
    return 2;
  }
  return fedgraft::Main({argv[1], std::atoi(argv[2]), std::atoi(argv[3]),
                         std::atoi(argv[4]), argv[5]});
}
