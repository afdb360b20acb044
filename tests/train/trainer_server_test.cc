#include "client/train/trainer_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "client/data/seeded_random.h"
#include "client/features/feature_cache.h"
#include "client/train/frame.h"
#include "client/train/path_io.h"
#include "common/config/plan_loader.h"
#include "common/runtime/system_clock.h"
#include "proto/trainer.pb.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsOk;

// The daemon's end of a socket pair; a trainer serves the other in a thread.
class TrainerServerTest : public ::testing::Test {
 protected:
  TrainerServerTest() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) abort();
    fd_ = ends[0];
    server_ = std::thread([this, other = ends[1]] {
      result_ = ServeTrainer(other, clock_);
      close(other);
    });
  }
  ~TrainerServerTest() override {
    if (server_.joinable()) Finish().IgnoreError();
  }
  // Closes the daemon's end; what the trainer then says.
  absl::Status Finish() {
    close(fd_);
    server_.join();
    return result_;
  }

  void SendRaw(ByteSpan bytes) {
    ASSERT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  void Send(pb::TrainerRequest request) {
    request.set_id(++id_);
    ASSERT_THAT(WriteFrame(fd_, AsBytes(request.SerializeAsString())), IsOk());
  }
  pb::TrainerReply Receive() {
    pb::TrainerReply reply;
    const auto frame = ReadFrame(fd_);
    EXPECT_THAT(frame, IsOk());
    if (frame.ok()) {
      EXPECT_TRUE(
          reply.ParseFromArray(frame->data(), static_cast<int>(frame->size())));
    }
    return reply;
  }
  // The result, after any progress (counted).
  pb::TrainerReply Call(const pb::TrainerRequest& request) {
    Send(request);
    for (progress_ = 0;; ++progress_) {
      pb::TrainerReply reply = Receive();
      EXPECT_EQ(reply.id(), id_);
      if (!reply.has_progress()) return reply;
    }
  }

  Plan PhantomPlan() {
    auto plan = ParsePlanYaml(
        "version: 1\nname: t\nrounds: 2\nsites: {quorum: 1}\n"
        "task: {kind: classification, classes: [none, lesion]}\n"
        "backbone: {architecture: squeezenet1_1, sha256: " +
            std::string(64, '0') +
            "}\n"
            "preprocessing: {size: 32}\n"
            "strategy: {kind: linear_probe}\n",
        "plan");
    EXPECT_THAT(plan, IsOk());
    return *std::move(plan);
  }
  pb::TrainerRequest ConfigureRequest() {
    const Plan plan = PhantomPlan();
    testing::WriteBackbone(folder_.File("backbone"), plan.architecture);
    testing::WriteInitialModel(plan, folder_.File("backbone"),
                               folder_.File("model"));
    pb::TrainerRequest request;
    auto& configure = *request.mutable_configure();
    configure.set_plan(std::string(AsText(plan.bytes)));
    configure.set_run_id("r");
    configure.mutable_data()->set_kind("phantom");
    auto& phantom = *configure.mutable_data()->mutable_phantom();
    phantom.set_train(20);
    phantom.set_val(10);
    phantom.set_test(10);
    phantom.set_size(32);
    phantom.set_prevalence(0.5);
    phantom.set_blur_sigma(0.8);
    phantom.set_photons(2000);
    phantom.set_gamma(1);
    phantom.set_gain(1);
    phantom.set_lesion_contrast(0.5);
    phantom.set_lesion_radius_min(2);
    phantom.set_lesion_radius_max(4);
    configure.mutable_compute()->set_device("cpu");
    configure.mutable_compute()->set_threads(1);
    configure.set_backbone_path(folder_.File("backbone"));
    configure.set_state_dir(folder_.File("state"));
    return request;
  }
  pb::TrainerRequest TrainRequest() {
    pb::TrainerRequest request;
    request.mutable_train()->set_round(1);
    request.mutable_train()->set_model_path(folder_.File("model"));
    request.mutable_train()->set_delta_path(folder_.File("delta"));
    return request;
  }
  pb::TrainerRequest EvaluateRequest(const std::string& split) {
    pb::TrainerRequest request;
    request.mutable_evaluate()->set_round(1);
    request.mutable_evaluate()->set_model_path(folder_.File("model"));
    request.mutable_evaluate()->set_split(split);
    return request;
  }

  testing::TempFolder folder_;
  SystemClock clock_;
  int fd_ = -1;
  uint64_t id_ = 0;
  int progress_ = 0;
  std::thread server_;
  absl::Status result_;
};

TEST_F(TrainerServerTest, ConfiguresTrainsAndEvaluates) {
  const pb::TrainerReply configured = Call(ConfigureRequest());
  ASSERT_TRUE(configured.has_configured()) << configured.DebugString();
  EXPECT_EQ(configured.configured().train_samples(), 20u);
  EXPECT_EQ(configured.configured().layout_digest(),
            testing::LayoutOf(PhantomPlan(), folder_.File("backbone"))
                .digest()
                .AsWire());
  const pb::TrainerReply trained = Call(TrainRequest());
  ASSERT_TRUE(trained.has_trained()) << trained.DebugString();
  EXPECT_EQ(trained.trained().samples(), 20u);
  EXPECT_GE(progress_, 1);
  EXPECT_EQ(testing::ReadDelta(folder_.File("delta")).size(), 2u * 512 + 2);
  pb::TrainerRequest request = EvaluateRequest("test");
  request.mutable_evaluate()->set_compare_local(true);
  request.mutable_evaluate()->set_initial_model_path(folder_.File("model"));
  const pb::TrainerReply evaluated = Call(request);
  ASSERT_TRUE(evaluated.has_evaluated()) << evaluated.DebugString();
  EXPECT_EQ(evaluated.evaluated().sums(0), 10);
  EXPECT_EQ(evaluated.evaluated().scalars().at("local_n"), 10);
  EXPECT_THAT(Finish(), IsOk());
}

TEST_F(TrainerServerTest, CachesActivationsWhereItIsTold) {
  pb::TrainerRequest request = ConfigureRequest();
  pb::TrainerConfigure& configure = *request.mutable_configure();
  configure.set_cache_dir(folder_.File("features"));
  configure.mutable_cache()->set_size_max_mib(16);
  configure.mutable_cache()->set_precision("f16");
  configure.mutable_cache()->set_encrypt(true);
  const pb::TrainerReply no_key = Call(request);
  EXPECT_EQ(no_key.error().code(),
            static_cast<int>(absl::StatusCode::kInvalidArgument));
  ASSERT_THAT(WriteFile(folder_.File("key"), Bytes(32, 1)), IsOk());
  configure.mutable_cache()->set_key_file(folder_.File("key"));
  ASSERT_TRUE(Call(request).has_configured());
  ASSERT_TRUE(Call(TrainRequest()).has_trained());
  const auto cache =
      FeatureCache::Open({folder_.File("features"), uint64_t{16} << 20, true,
                          folder_.File("key")});
  ASSERT_THAT(cache, IsOk());
  // 20 images of 512 x 3 x 3 values or more, two bytes each.
  EXPECT_GT((*cache)->bytes(), 20u * 512 * 2);
}

TEST_F(TrainerServerTest, AnswersBadRequestsWithTheirStatus) {
  const pb::TrainerReply early = Call(TrainRequest());
  EXPECT_EQ(early.error().code(),
            static_cast<int>(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(early.error().message(), "configure before train");

  pb::TrainerRequest bad_plan = ConfigureRequest();
  bad_plan.mutable_configure()->set_plan("no plan");
  pb::TrainerRequest bad_data = ConfigureRequest();
  bad_data.mutable_configure()->mutable_data()->set_kind("tape");
  pb::TrainerRequest bad_device = ConfigureRequest();
  bad_device.mutable_configure()->mutable_compute()->set_device("tpu");
  pb::TrainerRequest bad_backbone = ConfigureRequest();
  bad_backbone.mutable_configure()->set_backbone_path("/nowhere");
  for (const auto& request :
       {pb::TrainerRequest(), bad_plan, bad_data, bad_device}) {
    const pb::TrainerReply reply = Call(request);
    EXPECT_EQ(reply.error().code(),
              static_cast<int>(absl::StatusCode::kInvalidArgument))
        << reply.DebugString();
  }
  EXPECT_EQ(Call(bad_backbone).error().code(),
            static_cast<int>(absl::StatusCode::kNotFound));

  ASSERT_TRUE(Call(ConfigureRequest()).has_configured());
  // What was configured stands after a configure that fails.
  EXPECT_TRUE(Call(bad_data).has_error());
  EXPECT_TRUE(Call(EvaluateRequest("holdout")).has_error());
  EXPECT_TRUE(Call(EvaluateRequest("val")).has_evaluated());
  EXPECT_THAT(Finish(), IsOk());
}

TEST_F(TrainerServerTest, SurvivesGarbageFrames) {
  SeededRandom random(11);
  for (int i = 0; i < 50; ++i) {
    Bytes garbage(1 + random.Below(200));
    for (uint8_t& byte : garbage) byte = static_cast<uint8_t>(random.Next());
    ASSERT_THAT(WriteFrame(fd_, garbage), IsOk());
    const pb::TrainerReply reply = Receive();
    // Bytes that happen to be a request have an unknown content at most.
    EXPECT_TRUE(reply.has_error());
  }
  EXPECT_TRUE(Call(ConfigureRequest()).has_configured());
  EXPECT_THAT(Finish(), IsOk());
}

TEST_F(TrainerServerTest, RefusesAFrameOfFourGibibytes) {
  SendRaw(Bytes{0xff, 0xff, 0xff, 0xff});
  EXPECT_EQ(Receive().error().code(),
            static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadFrame(fd_), HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(Finish(), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TrainerServerTest, ReportsAStreamThatEndsInAFrame) {
  SendRaw(Bytes{10, 0, 0, 0, 1, 2});
  EXPECT_THAT(Finish(), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(TrainerServerTest, EndsQuietlyWithTheDaemon) {
  EXPECT_THAT(Finish(), IsOk());
}

TEST_F(TrainerServerTest, EndsWhenTheDaemonDiesDuringACall) {
  pb::TrainerRequest configure = ConfigureRequest();
  Plan plan = PhantomPlan();
  ASSERT_TRUE(Call(configure).has_configured());
  Send(TrainRequest());
  // Its answer has nobody to go to.
  EXPECT_THAT(Finish(), testing::HasCode(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace fedgraft
