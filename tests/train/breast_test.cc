#include "client/data/data_source_factory.h"
#include "client/train/path_io.h"
#include "client/train/session.h"
#include "common/model/safetensors.h"
#include "common/runtime/system_clock.h"
#include "proto/config.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::IsOk;
using testing::Silent;

Plan BreastPlan() {
  Plan plan;
  plan.seed = 1;
  plan.rounds = 20;
  plan.classes = {"malignant", "benign"};
  plan.architecture = "mobilenet_v2";
  plan.preprocessing.size = 128;
  plan.preprocessing.mean = {0.485, 0.456, 0.406};
  plan.preprocessing.std = {0.229, 0.224, 0.225};
  plan.local_epochs = 5;
  plan.optimizer.learning_rate = 0.01;
  plan.schedule.kind = ScheduleKind::kCosine;
  return plan;
}

// Real images: BreastMNIST, frozen ImageNet features, three sites averaged by
// hand. A pooled, exactly solved logistic probe reaches AUC 0.876 to 0.881.
TEST(BreastTest, ThreeSitesReachThePooledProbe) {
  const std::string data = testing::DataFolder();
  if (data.empty()) GTEST_SKIP() << "no FEDGRAFT_DATA";
  const Plan plan = BreastPlan();
  testing::TempFolder folder;
  const std::string backbone = data + "/backbones/mobilenet_v2.safetensors";
  const std::string model = folder.File("model"), delta = folder.File("delta");
  SystemClock clock;
  std::vector<std::unique_ptr<TrainerSession>> sites;
  for (int shard = 0; shard < 3; ++shard) {
    pb::DataConfig config;
    config.set_kind("npz");
    config.set_path(data + "/medmnist/breastmnist.npz");
    config.set_shard_index(shard);
    config.set_shard_count(3);
    config.set_image_megapixels_max(10);
    SessionConfig session;
    session.plan = plan;
    auto source = OpenDataSource(config, {plan.classes, DataUse::kTrain});
    ASSERT_THAT(source, IsOk());
    session.data = *std::move(source);
    session.compute = {"cpu", 2, "none"};
    session.backbone_path = backbone;
    auto opened = TrainerSession::Create(std::move(session), clock);
    ASSERT_THAT(opened, IsOk());
    sites.push_back(*std::move(opened));
  }
  ParameterVector values = testing::WriteInitialModel(plan, backbone, model);
  for (int round = 1; round <= plan.rounds; ++round) {
    std::vector<double> sum(values.size());
    double total = 0;
    for (auto& site : sites) {
      const auto trained = site->RunTrain({round, model, delta}, Silent);
      ASSERT_THAT(trained, IsOk());
      const ParameterVector update = testing::ReadDelta(delta);
      const double weight = static_cast<double>(trained->samples);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * update[i];
      total += weight;
    }
    EXPECT_EQ(total, 546);
    for (size_t i = 0; i < sum.size(); ++i) {
      values[i] += static_cast<float>(sum[i] / total);
    }
    ASSERT_THAT(
        WriteFile(model, EncodeTrainableSet(testing::LayoutOf(plan, backbone),
                                            values)),
        IsOk());
  }
  const auto evaluated = sites[0]->RunEvaluate(
      {plan.rounds, model, Split::kTest, false, ""}, Silent);
  ASSERT_THAT(evaluated, IsOk());
  EXPECT_EQ(evaluated->scalars.at("n"), 156);
  EXPECT_GE(evaluated->scalars.at("auc"), 0.87);
  RecordProperty("auc", std::to_string(evaluated->scalars.at("auc")));
  std::printf("test AUC %.4f [%.3f, %.3f]\n", evaluated->scalars.at("auc"),
              evaluated->scalars.at("auc_low"),
              evaluated->scalars.at("auc_high"));
}

}  // namespace
}  // namespace fedgraft
