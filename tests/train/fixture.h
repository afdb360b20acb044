#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "client/data/data_source.h"
#include "client/model/network.h"
#include "client/train/session.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft::testing {

// Grey noise images of which one half, left for class 0 and right for class 1,
// is brighter. Image i of a split depends on the seed, split and i only.
class FakeSource : public DataSource {
 public:
  struct Options {
    int train = 12, val = 6, test = 8;
    int size = 32;
    int classes = 2;
    double contrast = 0.5;
    uint64_t seed = 1;
    DeviceNames device = {};
  };
  explicit FakeSource(Options options);

  const std::vector<Sample>& Samples(Split split) const override {
    return samples_[static_cast<size_t>(split)];
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override;
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }

  int loads() const { return loads_; }
  // From now on this training image is another one, or cannot be decoded.
  void ChangeTrainImage(size_t index) { changed_ = static_cast<int>(index); }
  void BreakTrainImage(size_t index) { broken_ = static_cast<int>(index); }
  std::vector<Sample>& mutable_samples(Split split) {
    return samples_[static_cast<size_t>(split)];
  }

 private:
  Options options_;
  std::vector<Sample> samples_[3];
  std::vector<std::string> warnings_;
  mutable std::atomic<int> loads_ = 0;
  int changed_ = -1, broken_ = -1;
};

// A small linear probe on resnet18, two classes, 32 x 32 pixels, SGD.
Plan SmallPlan();

// A network with seeded values, in evaluation mode.
std::shared_ptr<Network> SeededNetwork(const std::string& architecture,
                                       int64_t classes, uint64_t seed = 1);

// Writes such a network with 1000 classes as a backbone file.
void WriteBackbone(const std::string& path, const std::string& architecture);

// Initial values of the plan's trainable set, written as a model file.
ParameterVector WriteInitialModel(const Plan& plan,
                                  const std::string& backbone_path,
                                  const std::string& model_path);

ParameterLayout LayoutOf(const Plan& plan, const std::string& backbone_path);

// The floats of a delta file.
ParameterVector ReadDelta(const std::string& path);

// Listens to nothing.
absl::Status Silent(double fraction, std::string_view stage);

// Folder of real data, or empty if there is none.
std::string DataFolder();

}  // namespace fedgraft::testing
