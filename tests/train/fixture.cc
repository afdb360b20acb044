#include "tests/train/fixture.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "client/data/seeded_random.h"
#include "client/model/network_state.h"
#include "client/train/path_io.h"
#include "common/base/check.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"

namespace fedgraft::testing {

FakeSource::FakeSource(Options options) : options_(options) {
  const int counts[] = {options.train, options.val, options.test};
  for (int split = 0; split < 3; ++split) {
    for (int i = 0; i < counts[split]; ++i) {
      samples_[split].push_back(
          {i % options.classes, "", absl::StrCat(split, "/", i)});
    }
  }
}

absl::StatusOr<Image> FakeSource::Load(Split split, size_t index) const {
  ++loads_;
  const bool train = split == Split::kTrain;
  if (train && static_cast<int>(index) == broken_) {
    return absl::InvalidArgumentError("not an image");
  }
  const bool changed = train && static_cast<int>(index) == changed_;
  SeededRandom random(
      {options_.seed, static_cast<uint64_t>(split), index, uint64_t{changed}});
  const int size = options_.size;
  Image image{size, size, 1, std::vector<float>(size * size), options_.device};
  const int label = static_cast<int>(index) % options_.classes;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const bool bright = x * options_.classes / size == label;
      image.pixels[y * size + x] =
          static_cast<float>((1 - options_.contrast) * random.Uniform() +
                             (bright ? options_.contrast : 0));
    }
  }
  return image;
}

Plan SmallPlan() {
  Plan plan;
  plan.name = "small";
  plan.seed = 3;
  plan.rounds = 3;
  plan.classes = {"left", "right"};
  plan.architecture = "resnet18";
  plan.preprocessing.size = 32;
  plan.preprocessing.mean = {0.5};
  plan.preprocessing.std = {0.25};
  plan.local_epochs = 2;
  plan.batch_size = 5;
  plan.optimizer.learning_rate = 0.01;
  return plan;
}

std::shared_ptr<Network> SeededNetwork(const std::string& architecture,
                                       int64_t classes, uint64_t seed) {
  std::shared_ptr<Network> network = *BuildModel(architecture, classes);
  InitializeFromScratch(*network, seed);
  network->eval();
  return network;
}

void WriteBackbone(const std::string& path, const std::string& architecture) {
  auto network = SeededNetwork(architecture, 1000);
  FG_CHECK(WriteFile(path, *EncodeState(*network, {})).ok());
}

ParameterLayout LayoutOf(const Plan& plan, const std::string& backbone_path) {
  return *TrainableLayout(plan, *SafetensorsFile::Open(backbone_path));
}

ParameterVector WriteInitialModel(const Plan& plan,
                                  const std::string& backbone_path,
                                  const std::string& model_path) {
  const SafetensorsFile backbone = *SafetensorsFile::Open(backbone_path);
  const ParameterLayout layout = *TrainableLayout(plan, backbone);
  ParameterVector values = *InitialTrainableSet(plan, layout, backbone);
  FG_CHECK(WriteFile(model_path, EncodeTrainableSet(layout, values)).ok());
  return values;
}

ParameterVector ReadDelta(const std::string& path) {
  const Bytes content = *ReadFile(path);
  ParameterVector values(content.size() / sizeof(float));
  std::memcpy(values.data(), content.data(), content.size());
  return values;
}

absl::Status Silent(double, std::string_view) { return absl::OkStatus(); }

std::string DataFolder() {
  const char* data = std::getenv("FEDGRAFT_DATA");
  const char* source = std::getenv("FEDGRAFT_SOURCE_DIR");
  std::string folder = data     ? data
                       : source ? absl::StrCat(source, "/../shared/data")
                                : "";
  return std::filesystem::is_directory(folder) ? folder : "";
}

}  // namespace fedgraft::testing
