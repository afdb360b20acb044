#include "client/agent/trainer_process.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "common/base/check.h"
#include "common/runtime/strand.h"
#include "common/runtime/system_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string BinFolder() {
  const char* folder = std::getenv("FEDGRAFT_BIN_DIR");
  if (folder != nullptr) return folder;
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

// A TrainerProcess on a real strand; calls wait for their answer.
class TrainerProcessTest : public ::testing::Test {
 protected:
  TrainerProcessTest() {
    std::string pattern = ::testing::TempDir() + "/trainerXXXXXX";
    FG_CHECK(mkdtemp(pattern.data()) != nullptr);
    root_ = pattern;
  }
  ~TrainerProcessTest() override {
    OnStrand([this] { trainer_.reset(); });
    std::filesystem::remove_all(root_);
  }

  void Start(const std::string& mode) {
    TrainerProcessOptions options;
    options.binary = BinFolder() + "/fake_trainer";
    options.arguments = {mode};
    options.files_root = root_;
    options.progress_timeout = timeout_;
    options.memory_bytes_max = memory_;
    Start(std::move(options));
  }
  void Start(TrainerProcessOptions options) {
    OnStrand([&] {
      trainer_ =
          std::make_unique<TrainerProcess>(std::move(options), strand_, clock_);
    });
  }
  void OnStrand(const std::function<void()>& work) {
    std::promise<void> done;
    strand_.Post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // Makes a call on the strand and waits for its answer.
  template <typename T>
  absl::StatusOr<T> Wait(const std::function<void(Reply<T>)>& call) {
    std::promise<absl::StatusOr<T>> answer;
    strand_.Post([&] {
      call(
          [&](absl::StatusOr<T> value) { answer.set_value(std::move(value)); });
    });
    return answer.get_future().get();
  }
  absl::StatusOr<TrainerReady> Configure() {
    return Wait<TrainerReady>([this](Reply<TrainerReady> reply) {
      TrainerSetup setup;
      setup.run = RunId{"run-1"};
      setup.state_folder = "runs/run-1/trainer";
      setup.backbone_path = "backbones/b";
      trainer_->Configure(setup, reply);
    });
  }
  absl::StatusOr<TrainResult> Train() {
    return Wait<TrainResult>([this](Reply<TrainResult> reply) {
      trainer_->Train(
          TrainRequest{RoundId{1}, "m", "d"},
          [this](float fraction) {
            ++progress_calls_;
            last_progress_ = fraction;
          },
          reply);
    });
  }
  absl::StatusOr<EvaluateResult> Evaluate() {
    return Wait<EvaluateResult>([this](Reply<EvaluateResult> reply) {
      trainer_->Evaluate(EvaluateRequest{}, nullptr, reply);
    });
  }
  // Configures a trainer of this mode and has it train.
  absl::Status TrainWith(const std::string& mode) {
    Start(mode);
    const auto ready = Configure();
    if (!ready.ok()) return ready.status();
    return Train().status();
  }

  absl::Duration timeout_ = absl::Seconds(20);
  uint64_t memory_ = 0;
  int progress_calls_ = 0;
  float last_progress_ = -1;
  std::string root_;
  SystemClock clock_;
  ThreadStrand strand_;
  std::unique_ptr<TrainerProcess> trainer_;
};

TEST_F(TrainerProcessTest, ConfiguresTrainsAndEvaluatesInOneProcess) {
  Start("ok");
  const auto ready = Configure();
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->train_samples, 100u);
  EXPECT_EQ(ready->device, "cpu");
  EXPECT_TRUE(std::filesystem::is_directory(root_ + "/runs/run-1/trainer"));
  for (int round = 0; round < 3; ++round) {
    const auto trained = Train();
    ASSERT_TRUE(trained.ok()) << trained.status();
    EXPECT_EQ(trained->samples, 100u);
    EXPECT_EQ(trained->loss, 0.5);
  }
  const auto evaluated = Evaluate();
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();
  EXPECT_EQ(evaluated->sums.size(), 10u);
  EXPECT_THAT(evaluated->scalars, ElementsAre(Pair("auc", 0.75)));
  ASSERT_TRUE(Configure().ok());
}

TEST_F(TrainerProcessTest, TheChildInheritsNothingItDoesNotNeed) {
  ASSERT_EQ(setenv("FEDGRAFT_TEST_SECRET", "x", 1), 0);
  const int leaked = dup(STDERR_FILENO);  // without close-on-exec
  Start("inspect");
  const auto ready = Configure();
  close(leaked);
  unsetenv("FEDGRAFT_TEST_SECRET");
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->device, "fds=0,1,2,3, leader=1 core=0 secret=0");
}

TEST_F(TrainerProcessTest, SaysHowTheChildEnded) {
  struct Case {
    const char* mode;
    const char* message;
  };
  for (const Case& c : {Case{"crash", "was killed by signal 11"},
                        Case{"exit", "exited with status 7"},
                        Case{"close", "was killed by signal 9"}}) {
    SCOPED_TRACE(c.mode);
    const absl::Status status = TrainWith(c.mode);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST_F(TrainerProcessTest, StartsAnewAtConfigureAfterACrash) {
  EXPECT_FALSE(TrainWith("crash").ok());
  EXPECT_EQ(Train().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Configure().ok());
}

TEST_F(TrainerProcessTest, KillsAChildThatMakesNoProgress) {
  timeout_ = absl::Milliseconds(200);
  const absl::Status status = TrainWith("hang");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("made no progress for 200ms"));
  EXPECT_TRUE(Configure().ok());
}

TEST_F(TrainerProcessTest, LetsASlowChildWorkAsLongAsItMakesProgress) {
  timeout_ = absl::Milliseconds(400);  // it needs 600
  EXPECT_TRUE(TrainWith("slow").ok());
  EXPECT_EQ(progress_calls_, 12);
}

TEST_F(TrainerProcessTest, TakesAFloodOfProgressWithoutHoarding) {
  EXPECT_TRUE(TrainWith("flood").ok());
  EXPECT_EQ(progress_calls_, 20000);
  EXPECT_EQ(last_progress_, 1.0f);  // 2 was said
}

TEST_F(TrainerProcessTest, KillsAChildThatBreaksTheProtocol) {
  struct Case {
    const char* mode;
    const char* message;
  };
  const Case cases[] = {
      {"garbage", "a frame that is no reply"},
      {"huge_frame", "announced a frame of 2147483647 bytes"},
      {"wrong_id", "expected to"},
      {"wrong_kind", "no answer to train"},
      {"empty", "no answer to train"},
      {"bad_progress", "progress is not finite"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.mode);
    const absl::Status status = TrainWith(c.mode);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
    EXPECT_THAT(std::string(Train().status().message()),
                HasSubstr("configure it first"));
  }
}

TEST_F(TrainerProcessTest, KillsAChildWithHostileSums) {
  struct Case {
    const char* mode;
    const char* message;
  };
  for (const Case& c : {Case{"nan_sums", "sum 4 is not finite"},
                        Case{"many_sums", "4194305 sums"},
                        Case{"scalar_nan", "a scalar is not finite"}}) {
    SCOPED_TRACE(c.mode);
    Start(c.mode);
    ASSERT_TRUE(Configure().ok());
    const absl::Status status = Evaluate().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST_F(TrainerProcessTest, RefusesABadLayoutDigestAndAnUnaskedReply) {
  EXPECT_EQ(TrainWith("short_digest").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(TrainWith("unasked").ok());
  // It was killed meanwhile or the second reply is refused as the next call's.
  EXPECT_FALSE(Train().ok());
}

TEST_F(TrainerProcessTest, PassesOnTheTrainersOwnError) {
  absl::Status status = TrainWith("error");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "label 7 is?out of range");
  // CANCELLED means that this side asked.
  status = TrainWith("cancelled_error");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
}

TEST_F(TrainerProcessTest, CancelEndsTheCall) {
  Start("hang");
  ASSERT_TRUE(Configure().ok());
  const auto result = Wait<TrainResult>([this](Reply<TrainResult> reply) {
    trainer_->Train(TrainRequest{RoundId{1}, "m", "d"}, nullptr, reply);
    trainer_->Cancel();
  });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(Configure().ok());
}

TEST_F(TrainerProcessTest, SaysThatTheBinaryCannotBeStarted) {
  TrainerProcessOptions options;
  options.binary = root_ + "/nothing";
  options.files_root = root_;
  Start(options);
  const absl::Status status = Configure().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nothing"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(TrainerProcessTest, LimitsTheChildsMemory) {
  memory_ = uint64_t{512} << 20;
  EXPECT_THAT(std::string(TrainWith("allocate").message()),
              HasSubstr("exited with status 8"));
}
#endif

TEST(FillTrainerOptionsTest, ReadsTheTimeoutAndNamesTheKey) {
  pb::ClientConfig config;
  TrainerProcessOptions options;
  config.mutable_trainer()->set_progress_timeout("90s");
  config.mutable_trainer()->set_memory_max_mib(3);
  ASSERT_TRUE(FillTrainerOptions(config, options).ok());
  EXPECT_EQ(options.progress_timeout, absl::Seconds(90));
  EXPECT_EQ(options.memory_bytes_max, uint64_t{3} << 20);
  EXPECT_FALSE(options.share_devices);
  config.mutable_policy()->set_share_devices(true);
  ASSERT_TRUE(FillTrainerOptions(config, options).ok());
  EXPECT_TRUE(options.share_devices);
  for (const char* bad : {"fast", "0s", "-1m"}) {
    config.mutable_trainer()->set_progress_timeout(bad);
    EXPECT_THAT(std::string(FillTrainerOptions(config, options).message()),
                HasSubstr("trainer.progress_timeout"));
  }
}

}  // namespace
}  // namespace fedgraft
