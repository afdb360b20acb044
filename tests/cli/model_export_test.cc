#include "aggregator/admin/model_export.h"

#include <string>
#include <vector>

#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
#include "common/model/adapters.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

ByteSpan Raw(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(float)};
}

Plan ProbePlan() {
  auto plan = ParsePlanYaml(
      "version: 1\nname: t\nrounds: 2\nsites: {quorum: 1}\n"
      "task: {classes: [a, b]}\n"
      "backbone: {architecture: resnet18, sha256: " +
          std::string(64, 'a') + "}\nstrategy: {kind: linear_probe}\n",
      "plan.yaml");
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

TEST(ModelExportTest, TrainedTensorsReplaceThoseOfTheBackbone) {
  const std::vector<float> conv = {1, 2};
  const std::vector<float> old_head = {9, 9, 9};
  const std::vector<float> new_head = {3, 4};
  const auto backbone_bytes =
      EncodeSafetensors({{"conv1.weight", {DType::kF32, {2}, Raw(conv)}},
                         {"fc.weight", {DType::kF32, {3, 1}, Raw(old_head)}}},
                        {});
  const auto trained = EncodeSafetensors(
      {{"fc.weight", {DType::kF32, {2, 1}, Raw(new_head)}}}, {});
  const auto backbone = SafetensorsFile::Parse(*backbone_bytes, "backbone");
  ASSERT_TRUE(backbone.ok());
  ExportFacts facts;
  facts.run = RunId{"r1"};
  facts.rounds = 2;
  facts.sites = {SiteId{"x"}};
  facts.metrics = {{"auc", 0.75}};

  const auto model = ExportModel(ProbePlan(), facts, *backbone, *trained);

  ASSERT_TRUE(model.ok()) << model.status();
  const auto merged = SafetensorsFile::Parse(model->safetensors, "merged");
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(*merged->ReadFloats("conv1.weight"), conv);
  EXPECT_EQ(*merged->ReadFloats("fc.weight"), new_head);
  const auto card = nlohmann::json::parse(model->card_json);
  EXPECT_EQ(card["sha256"], Sha256(model->safetensors).Hex());
  EXPECT_EQ(card["classes"], (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(card["preprocessing"]["size"], 224);
  EXPECT_EQ(card["metrics"]["auc"], 0.75);
  EXPECT_FALSE(card.contains("training_priors"));
}

TEST(ModelExportTest, CardSaysWhichSharesTheModelLearned) {
  const std::vector<float> head = {3, 4};
  const auto backbone_bytes =
      EncodeSafetensors({{"fc.weight", {DType::kF32, {2, 1}, Raw(head)}}}, {});
  const auto backbone = SafetensorsFile::Parse(*backbone_bytes, "backbone");
  ASSERT_TRUE(backbone.ok());
  ExportFacts facts;
  facts.run = RunId{"r1"};
  facts.class_counts = {30, 10};
  Plan plan = ProbePlan();
  const auto priors = [&] {
    const auto model = ExportModel(plan, facts, *backbone, *backbone_bytes);
    EXPECT_TRUE(model.ok()) << model.status();
    return nlohmann::json::parse(model->card_json)
        .value("training_priors", nlohmann::json());
  };
  EXPECT_EQ(priors(), (std::vector<double>{0.75, 0.25}));
  plan.loss.class_weights = ClassWeights::kFederated;
  EXPECT_EQ(priors(), (std::vector<double>{0.5, 0.5}));
  facts.class_counts = {30, 0};
  EXPECT_TRUE(priors().is_null());
}

Plan PlanWith(const std::string& strategy) {
  auto plan = ParsePlanYaml(
      "version: 1\nname: t\nrounds: 2\nsites: {quorum: 1}\n"
      "task: {classes: [a, b]}\nseed: 5\n"
      "backbone: {architecture: resnet18, sha256: " +
          std::string(64, 'a') + "}\nstrategy: " + strategy + "\n",
      "plan.yaml");
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

// A 1x1 convolution of two outputs and three inputs, with rank 1.
struct TinyLora {
  std::vector<float> weight = {1, 2, 3, 4, 5, 6};
  std::vector<float> b = {0.5, -2}, a = {1, 10, 100};
  Bytes backbone = *EncodeSafetensors(
      {{"layer1.0.conv1.weight", {DType::kF32, {2, 3, 1, 1}, Raw(weight)}}},
      {});
  SafetensorsFile file = *SafetensorsFile::Parse(backbone, "backbone");
};

TEST(ModelExportTest, MergesLowRankAdaptersIntoTheWeights) {
  const TinyLora tiny;
  const Plan plan = PlanWith(
      "{kind: adapter, adapter: {kind: lora_plain, rank: 1, alpha: 2}}");
  const auto trained = EncodeSafetensors(
      {{"layer1.0.conv1.lora_a", {DType::kF32, {1, 3}, Raw(tiny.a)}},
       {"layer1.0.conv1.lora_b", {DType::kF32, {2, 1}, Raw(tiny.b)}}},
      {});

  const auto model = ExportModel(plan, {}, tiny.file, *trained);

  ASSERT_TRUE(model.ok()) << model.status();
  const auto merged = SafetensorsFile::Parse(model->safetensors, "merged");
  ASSERT_EQ(merged->tensors().size(), 1u);
  EXPECT_EQ(merged->tensors().begin()->second.shape,
            (std::vector<int64_t>{2, 3, 1, 1}));
  // W + 2 b a
  EXPECT_EQ(*merged->ReadFloats("layer1.0.conv1.weight"),
            (std::vector<float>{2, 12, 103, 0, -35, -394}));
  const auto card = nlohmann::json::parse(model->card_json);
  EXPECT_EQ(card["adapter"]["kind"], "lora_plain");
  EXPECT_EQ(card["head"]["kind"], "linear");
  EXPECT_EQ(card["has_torchvision_names_only"], true);
}

TEST(ModelExportTest, MakesTheFixedFactorFromThePlan) {
  const TinyLora tiny;
  const Plan plan =
      PlanWith("{kind: adapter, adapter: {kind: lora, rank: 1, alpha: 2}}");
  const auto trained = EncodeSafetensors(
      {{"layer1.0.conv1.lora_b", {DType::kF32, {2, 1}, Raw(tiny.b)}}}, {});
  const auto model = ExportModel(plan, {}, tiny.file, *trained);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> a = LoraA(plan, {"layer1.0.conv1", 2, 3});
  const auto merged = SafetensorsFile::Parse(model->safetensors, "merged");
  const std::vector<float> weight =
      *merged->ReadFloats("layer1.0.conv1.weight");
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 3; ++j) {
      EXPECT_NEAR(weight[i * 3 + j],
                  tiny.weight[i * 3 + j] + 2 * tiny.b[i] * a[j], 1e-6);
    }
  }
}

TEST(ModelExportTest, RefusesAnAdapterOfAnotherRank) {
  const TinyLora tiny;
  const Plan plan = PlanWith("{kind: adapter, adapter: {rank: 2}}");
  const auto trained = EncodeSafetensors(
      {{"layer1.0.conv1.lora_b", {DType::kF32, {2, 1}, Raw(tiny.b)}}}, {});
  const auto model = ExportModel(plan, {}, tiny.file, *trained);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelExportTest, CardSaysWhatTorchvisionDoesNotKnow) {
  const TinyLora tiny;
  const auto trained = EncodeSafetensors(
      {{"fc.out.weight", {DType::kF32, {2, 1}, Raw(tiny.b)}}}, {});
  const auto model =
      ExportModel(PlanWith("{kind: feature_extraction, hidden_dim: 7}"), {},
                  tiny.file, *trained);
  ASSERT_TRUE(model.ok());
  auto card = nlohmann::json::parse(model->card_json);
  EXPECT_EQ(card["head"]["kind"], "residual_mlp");
  EXPECT_EQ(card["head"]["hidden_dim"], 7);
  EXPECT_EQ(card["has_torchvision_names_only"], false);
  const auto bottleneck = ExportModel(
      PlanWith("{kind: adapter, adapter: {kind: bottleneck, reduction: 4, "
               "targets: [\"layer4.*\"]}}"),
      {}, tiny.file, *EncodeSafetensors({}, {}));
  ASSERT_TRUE(bottleneck.ok());
  card = nlohmann::json::parse(bottleneck->card_json);
  EXPECT_EQ(card["adapter"]["merged"], false);
  EXPECT_EQ(card["adapter"]["reduction"], 4);
  EXPECT_EQ(card["adapter"]["targets"], std::vector<std::string>{"layer4.*"});
  EXPECT_EQ(card["has_torchvision_names_only"], false);
}

TEST(ModelExportTest, HoldsNoHeadWhereEachSiteKeepsItsOwn) {
  const std::vector<float> values = {1, 2};
  const auto backbone_bytes =
      EncodeSafetensors({{"conv1.weight", {DType::kF32, {2}, Raw(values)}},
                         {"fc.weight", {DType::kF32, {2}, Raw(values)}}},
                        {});
  const auto trained = EncodeSafetensors(
      {{"layer4.weight", {DType::kF32, {2}, Raw(values)}}}, {});
  Plan plan = ProbePlan();
  plan.personal.kind = PersonalKind::kLocalHead;
  const auto model = ExportModel(
      plan, {}, *SafetensorsFile::Parse(*backbone_bytes, "backbone"), *trained);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto merged = SafetensorsFile::Parse(model->safetensors, "merged");
  EXPECT_EQ(merged->tensors().size(), 2u);
  EXPECT_EQ(merged->tensors().count("fc.weight"), 0u);
  const std::string where =
      nlohmann::json::parse(model->card_json)["head"]["where"];
  EXPECT_EQ(where.find("each site keeps its own"), 0u);
}

TEST(ModelExportTest, RefusesAHeadThatMeansNothingOutsideTheSites) {
  const TinyLora tiny;
  Plan plan = ProbePlan();
  plan.solver.kind = SolverKind::kNewton;
  plan.solver.normalization = Normalization::kPerSite;
  const auto trained = EncodeSafetensors({}, {});
  const auto model = ExportModel(plan, {}, tiny.file, *trained);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
  plan.solver.normalization = Normalization::kPooled;
  EXPECT_TRUE(ExportModel(plan, {}, tiny.file, *trained).ok());
}

TEST(ModelExportTest, RefusesATrainableSetThatIsNotSafetensors) {
  const auto backbone_bytes = EncodeSafetensors({}, {});
  const auto backbone = SafetensorsFile::Parse(*backbone_bytes, "backbone");
  ASSERT_TRUE(backbone.ok());
  const auto model =
      ExportModel(ProbePlan(), {}, *backbone, AsBytes("not safetensors"));
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fedgraft
