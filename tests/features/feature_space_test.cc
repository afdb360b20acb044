#include "client/features/feature_space.h"

#include <functional>
#include <set>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(FeatureSpaceTest, EveryIngredientMakesAnotherSpace) {
  FeatureSpaceSpec base;
  base.architecture = "resnet18";
  base.stage = 3;
  base.preprocessing.mean = {0.5};
  base.preprocessing.std = {0.25};
  base.numerics = "cpu 0 1.13";
  const std::vector<std::function<void(FeatureSpaceSpec&)>> changes = {
      [](auto& spec) { spec.backbone.bytes[31] = 1; },
      [](auto& spec) { spec.architecture = "resnet34"; },
      [](auto& spec) { spec.stage = 4; },
      [](auto& spec) { spec.preprocessing.size = 128; },
      [](auto& spec) {
        spec.preprocessing.interpolation = Interpolation::kArea;
      },
      [](auto& spec) { spec.preprocessing.aspect = AspectPolicy::kPad; },
      [](auto& spec) {
        spec.preprocessing.mean = {0.5, 0.5, 0.5};
      },
      [](auto& spec) { spec.preprocessing.mean = {0.25}; },
      [](auto& spec) { spec.preprocessing.std = {0.5}; },
      // Where one list ends and the other begins counts.
      [](auto& spec) {
        spec.preprocessing.mean = {};
        spec.preprocessing.std = {0.5, 0.25};
      },
      [](auto& spec) { spec.preprocessing.invert = true; },
      [](auto& spec) { spec.half = true; },
      [](auto& spec) { spec.numerics = "cuda 0 1.13"; },
  };
  std::set<Digest> spaces = {FeatureSpace(base)};
  for (const auto& change : changes) {
    FeatureSpaceSpec spec = base;
    change(spec);
    spaces.insert(FeatureSpace(spec));
  }
  EXPECT_EQ(spaces.size(), changes.size() + 1);
  EXPECT_EQ(spaces.count(FeatureSpace(base)), 1u);
}

}  // namespace
}  // namespace fedgraft
