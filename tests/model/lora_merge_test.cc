#include "common/model/lora_merge.h"

#include <string>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using Values = std::vector<float>;

constexpr int64_t kRows = 3, kColumns = 2;

ByteSpan Raw(const Values& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(float)};
}

SafetensorsFile File(const std::map<std::string, TensorToWrite>& tensors) {
  return *SafetensorsFile::Parse(*EncodeSafetensors(tensors, {}), "file");
}

Plan RankOne(AdapterKind kind) {
  Plan plan;
  plan.strategy = StrategyKind::kAdapter;
  plan.adapter.kind = kind;
  plan.adapter.rank = 1;
  plan.adapter.alpha = 1;
  plan.seed = 3;
  return plan;
}

// The product of the factors, as an export has it, over a weight of zeros.
Values Product(const Plan& plan, const Values& b, const Values& a) {
  const Values zeros(kRows * kColumns);
  const SafetensorsFile backbone =
      File({{"conv.weight", {DType::kF32, {kRows, kColumns}, Raw(zeros)}}});
  std::map<std::string, TensorToWrite> factors = {
      {"conv.lora_b", {DType::kF32, {kRows, 1}, Raw(b)}}};
  if (!a.empty()) {
    factors["conv.lora_a"] = {DType::kF32, {1, kColumns}, Raw(a)};
  }
  const auto merged = MergeLora(plan, backbone, File(factors));
  EXPECT_TRUE(merged.ok()) << merged.status();
  return merged->at("conv.weight");
}

Values Mean(const Values& x, const Values& y) {
  Values mean(x.size());
  for (size_t i = 0; i < x.size(); ++i) mean[i] = (x[i] + y[i]) / 2;
  return mean;
}

// Two sites' factors, the mean of their products and what the product of the
// means misses, computed with numpy.
const Values kB[] = {{1.065f, -0.141f, 0.083f}, {-0.617f, 2.695f, 1.133f}};
const Values kA[] = {{-0.989f, -0.734f}, {-0.202f, 1.507f}};
const double kExact[] = {-0.4643255, -0.8557645, -0.2024705,
                         2.0824295,  -0.1554765, 0.8232545};
const double kResidual[] = {-0.3309335, -0.9423405, 0.557983,
                            1.588869,   0.2065875,  0.5882625};

TEST(MergeLoraTest, TheProductOfMeansIsNotTheMeanOfProducts) {
  const Plan plan = RankOne(AdapterKind::kLoraPlain);
  const Values exact =
      Mean(Product(plan, kB[0], kA[0]), Product(plan, kB[1], kA[1]));
  const Values averaged = Product(plan, Mean(kB[0], kB[1]), Mean(kA[0], kA[1]));
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(exact[i], kExact[i], 1e-6) << i;
    EXPECT_NEAR(exact[i] - averaged[i], kResidual[i], 1e-6) << i;
  }
}

TEST(MergeLoraTest, WithAFixedFactorTheMeanIsExact) {
  const Plan plan = RankOne(AdapterKind::kLora);
  const Values exact = Mean(Product(plan, kB[0], {}), Product(plan, kB[1], {}));
  const Values averaged = Product(plan, Mean(kB[0], kB[1]), {});
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(exact[i], averaged[i], 1e-6) << i;
    EXPECT_NE(averaged[i], 0);
  }
}

TEST(MergeLoraTest, OtherSetsHaveNothingToMerge) {
  const Values weight(6, 1.0f);
  const SafetensorsFile backbone =
      File({{"conv.weight", {DType::kF32, {3, 2}, Raw(weight)}}});
  EXPECT_TRUE(
      MergeLora(RankOne(AdapterKind::kLora), backbone, backbone)->empty());
  EXPECT_FALSE(
      MergeLora(RankOne(AdapterKind::kLora), File({}),
                File({{"conv.lora_b", {DType::kF32, {3, 1}, Raw(kB[0])}}}))
          .ok());
}

}  // namespace
}  // namespace fedgraft
