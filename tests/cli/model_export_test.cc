#include "aggregator/admin/model_export.h"

#include <string>
#include <vector>

#include "common/config/plan_loader.h"
#include "common/crypto/sha256.h"
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
  const std::string head =
      nlohmann::json::parse(model->card_json)["head"].get<std::string>();
  EXPECT_EQ(head.find("local"), 0u);
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
