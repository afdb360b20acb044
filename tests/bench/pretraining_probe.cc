// What a backbone is worth with few labels; experiments/pretraining.py runs it
// for several backbones. Of two classes of images, and of each seed, draws
// nested training sets of n images (at least 2 of a class), fits on them
//   head     a logistic head on frozen features, solved exactly
//   partial  head and last block, AdamW, from a head of next to nothing
// and prints a line of CSV each: method,n,seed,setting,val_auc,test_auc, where
// lambda (head) and epoch (partial) are those of the best validation AUC or
// loss. 0 stands for all images.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/data/data_source_factory.h"
#include "client/data/preprocess.h"
#include "client/data/seeded_random.h"
#include "client/model/network_state.h"
#include "client/train/activation_store.h"
#include "client/train/learner.h"
#include "client/train/starting_network.h"
#include "common/base/check.h"
#include "common/config/config_loader.h"
#include "common/model/trainable_set.h"
#include "proto/config.pb.h"
#include "tests/train/fixture.h"
#include "tests/train/linear_probe.h"

namespace fedgraft {
namespace {

struct Arguments {
  std::string architecture = "mobilenet_v2", backbone, data;
  std::vector<std::string> classes;
  PreprocessingSpec preprocessing;
  std::vector<int64_t> counts = {10, 20, 50, 100, 0};
  std::vector<uint64_t> seeds = {1};
  int partial_epochs = 0;
  std::string unfreeze = "features.18.*";
  int threads = 1;
};

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

const std::vector<double> kLambdas = {10000, 3000, 1000, 300, 100,
                                      30,    10,   3,    1};

// n images, of each class its share, in an order that larger n continue.
std::vector<int64_t> Draw(const std::vector<Sample>& samples, int64_t n,
                          uint64_t seed) {
  std::vector<int64_t> by_class[2];
  for (size_t i = 0; i < samples.size(); ++i) {
    by_class[samples[i].label].push_back(static_cast<int64_t>(i));
  }
  const auto total = static_cast<int64_t>(samples.size());
  if (n == 0 || n > total) n = total;
  SeededRandom random({seed, 0x64726177});
  for (auto& images : by_class) random.Shuffle(images);
  const auto ones = std::clamp<int64_t>(
      (n * static_cast<int64_t>(by_class[1].size()) + total / 2) / total, 2,
      n - 2);
  std::vector<int64_t> drawn(by_class[1].begin(), by_class[1].begin() + ones);
  drawn.insert(drawn.end(), by_class[0].begin(),
               by_class[0].begin() + (n - ones));
  return drawn;
}

// Some of the training images of another source; its other splits.
class SubsetSource : public DataSource {
 public:
  SubsetSource(const DataSource& source, std::vector<int64_t> images)
      : source_(source), images_(std::move(images)) {
    for (int64_t i : images_) {
      samples_.push_back(source.Samples(Split::kTrain)[i]);
    }
  }
  const std::vector<Sample>& Samples(Split split) const override {
    return split == Split::kTrain ? samples_ : source_.Samples(split);
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override {
    return source_.Load(split, split == Split::kTrain ? images_[index] : index);
  }
  const std::vector<std::string>& Warnings() const override {
    return source_.Warnings();
  }

 private:
  const DataSource& source_;
  const std::vector<int64_t> images_;
  std::vector<Sample> samples_;
};

void Print(const char* method, int64_t n, uint64_t seed, double setting,
           double validation, double test) {
  std::printf("%s,%lld,%llu,%g,%.5f,%.5f\n", method, static_cast<long long>(n),
              static_cast<unsigned long long>(seed), setting, validation, test);
  std::fflush(stdout);
}

void Heads(const Arguments& arguments, const DataSource& data) {
  StartingNetwork start =
      Get(StartNetwork(arguments.architecture, 2, arguments.backbone, 0));
  std::map<Split, LabelledFeatures> features;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    features[split] = testing::FeaturesOf(*start.network, data,
                                          arguments.preprocessing, split);
  }
  for (const uint64_t seed : arguments.seeds) {
    for (const int64_t n : arguments.counts) {
      const testing::ProbeScore score = testing::ScoreProbe(
          testing::Select(features[Split::kTrain],
                          Draw(data.Samples(Split::kTrain), n, seed)),
          features[Split::kVal], features[Split::kTest], kLambdas);
      Print("head", n, seed, score.lambda, score.validation_auc,
            score.test_auc);
    }
  }
}

Plan PartialPlan(const Arguments& arguments, uint64_t seed) {
  Plan plan;
  plan.seed = seed;
  plan.rounds = arguments.partial_epochs;
  plan.classes = arguments.classes;
  plan.architecture = arguments.architecture;
  plan.preprocessing = arguments.preprocessing;
  plan.strategy = StrategyKind::kPartial;
  plan.unfreeze = {arguments.unfreeze};
  plan.local_epochs = 1;
  plan.batch_size = 16;
  plan.optimizer.kind = OptimizerKind::kAdamW;
  plan.optimizer.learning_rate = 1e-3;
  plan.optimizer.weight_decay = 1e-2;
  plan.schedule.kind = ScheduleKind::kCosine;
  return plan;
}

void Partial(const Arguments& arguments, const DataSource& all, int64_t n,
             uint64_t seed, const Compute& compute,
             const Preprocessor& preprocessor) {
  const SubsetSource data(all, Draw(all.Samples(Split::kTrain), n, seed));
  const Plan plan = PartialPlan(arguments, seed);
  StartingNetwork start =
      Get(StartNetwork(arguments.architecture, 2, arguments.backbone, 0));
  const Bytes content = Get(EncodeState(*start.network, {}));
  ParameterLayout layout =
      Get(TrainableLayout(plan, Get(SafetensorsFile::Parse(content, "start"))));
  auto learner =
      Get(Learner::Create(plan, std::move(layout), start.network, compute));
  std::map<Split, std::unique_ptr<ActivationStore>> stores;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    ActivationStore::Options options;
    options.network = start.network.get();
    options.compute = &compute;
    options.source = &data;
    options.preprocessor = &preprocessor;
    options.split = split;
    options.stage = learner->boundary();
    stores[split] = Get(ActivationStore::Create(options, testing::Silent));
  }
  const auto metric = [&](Split split, const char* name) {
    return SiteMetrics(Get(learner->Predict(*stores[split], testing::Silent)),
                       "")
        .at(name);
  };
  double best = 1e300, validation_auc = 0, test_auc = 0;
  int best_epoch = 0;
  for (int epoch = 1; epoch <= arguments.partial_epochs; ++epoch) {
    Get(learner->TrainRound(epoch, *stores[Split::kTrain], testing::Silent));
    const double loss = metric(Split::kVal, "loss");
    if (loss >= best) continue;
    best = loss;
    best_epoch = epoch;
    validation_auc = metric(Split::kVal, "auc");
    test_auc = metric(Split::kTest, "auc");
  }
  Print("partial", n, seed, best_epoch, validation_auc, test_auc);
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{"Learning curves of one backbone with few labels"};
  app.add_option("--architecture", arguments.architecture);
  app.add_option("--backbone", arguments.backbone, "None: random weights");
  app.add_option("--data", arguments.data)->required();
  app.add_option("--classes", arguments.classes)->delimiter(',')->required();
  app.add_option("--image-size", arguments.preprocessing.size);
  app.add_option("--mean", arguments.preprocessing.mean)->delimiter(',');
  app.add_option("--std", arguments.preprocessing.std)->delimiter(',');
  app.add_option("--counts", arguments.counts)->delimiter(',');
  app.add_option("--seeds", arguments.seeds)->delimiter(',');
  app.add_option("--partial-epochs", arguments.partial_epochs,
                 "0: no partial fine-tuning");
  app.add_option("--unfreeze", arguments.unfreeze);
  app.add_option("--threads", arguments.threads);
  CLI11_PARSE(app, argc, argv);

  const Compute compute = Get(SetUpCompute({"cpu", arguments.threads, "none"}));
  const auto data = Get(OpenDataSource(Get(LoadDataConfig(arguments.data)),
                                       {arguments.classes, DataUse::kTrain}));
  Heads(arguments, *data);
  if (arguments.partial_epochs == 0) return 0;
  const Preprocessor preprocessor =
      Get(Preprocessor::Create(arguments.preprocessing));
  for (const uint64_t seed : arguments.seeds) {
    for (const int64_t n : arguments.counts) {
      Partial(arguments, *data, n, seed, compute, preprocessor);
    }
  }
  return 0;
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) { return fedgraft::Main(argc, argv); }
