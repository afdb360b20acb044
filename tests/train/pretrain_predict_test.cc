#include "absl/strings/str_split.h"
#include "client/train/jittered_source.h"
#include "client/train/path_io.h"
#include "client/train/predict.h"
#include "client/train/pretrain.h"
#include "common/crypto/sha256.h"
#include "common/runtime/system_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"
#include "tests/train/fixture.h"

namespace fedgraft {
namespace {

using testing::FakeSource;
using testing::IsError;
using testing::IsOk;
using testing::Silent;

class PretrainPredictTest : public ::testing::Test {
 protected:
  PretrainOptions Options(const std::string& name) {
    PretrainOptions options;
    options.architecture = "resnet18";
    options.classes = {"left, bright", "right"};
    options.out_path = folder_.File(name);
    options.preprocessing.size = 32;
    options.epochs = 3;
    options.batch_size = 8;
    options.optimizer.learning_rate = 0.02;
    options.compute = {"cpu", 1, "none"};
    return options;
  }
  absl::StatusOr<Digest> Run(const PretrainOptions& options) {
    return Pretrain(options, source_, clock_,
                    [this](const PretrainEpoch& e) { epochs_.push_back(e); });
  }
  std::vector<std::string> Lines(const std::string& path) {
    const Bytes content = *ReadFile(path);
    const std::string_view text = AsText(content);
    return absl::StrSplit(absl::string_view(text.data(), text.size()), '\n',
                          absl::SkipEmpty());
  }

  testing::TempFolder folder_;
  SystemClock clock_;
  FakeSource source_{{.train = 48, .val = 16, .test = 10}};
  std::vector<PretrainEpoch> epochs_;
};

TEST_F(PretrainPredictTest, MakesABackboneThatPredicts) {
  const auto digest = Run(Options("model.safetensors"));
  ASSERT_THAT(digest, IsOk());
  EXPECT_EQ(*digest, Sha256(*ReadFile(folder_.File("model.safetensors"))));
  ASSERT_EQ(epochs_.size(), 3u);
  EXPECT_GT(epochs_.back().metrics.at("auc"), 0.9);

  // A backbone with its card has the form of an export.
  PredictOptions options;
  options.model_path = folder_.File("model.safetensors");
  const auto card = LoadModelCard(options.model_path, "");
  ASSERT_THAT(card, IsOk());
  options.card = *card;
  options.out_path = folder_.File("out.csv");
  options.compute = {"cpu", 1, "none"};
  auto& samples = source_.mutable_samples(Split::kTest);
  samples[0].name = "a \"b\".png";
  samples[9].label = -1;
  const auto result = Predict(options, source_, Silent);
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->images, 10u);
  EXPECT_EQ(result->metrics.at("n"), 9);
  EXPECT_GT(result->metrics.at("auc"), 0.9);
  const std::vector<std::string> lines = Lines(options.out_path);
  ASSERT_EQ(lines.size(), 11u);
  EXPECT_EQ(lines[0], "image,label,predicted,\"p_left, bright\",p_right");
  EXPECT_EQ(lines[1].rfind("\"a \"\"b\"\".png\",\"left, bright\",", 0), 0u)
      << lines[1];
  EXPECT_EQ(lines[10].rfind("2/9,,", 0), 0u) << lines[10];
}

TEST_F(PretrainPredictTest, SameOptionsGiveTheSameFile) {
  PretrainOptions options = Options("a");
  options.epochs = 1;
  const auto a = Run(options);
  options.out_path = folder_.File("b");
  const auto b = Run(options);
  ASSERT_THAT(a, IsOk());
  EXPECT_EQ(*a, *b);
  options.seed = 1;
  EXPECT_NE(*a, *Run(options));
}

TEST_F(PretrainPredictTest, StartsFromABackboneWithAnotherHead) {
  testing::WriteBackbone(folder_.File("start"), "resnet18");
  PretrainOptions options = Options("c");
  options.epochs = 1;
  options.start_path = folder_.File("start");
  EXPECT_THAT(Run(options), IsOk());
  options.architecture = "resnet34";
  EXPECT_THAT(Run(options),
              IsError(absl::StatusCode::kInvalidArgument, "missing"));
}

TEST_F(PretrainPredictTest, JittersTrainingImagesOnlyAndReproducibly) {
  const JitteredSource source(source_, 0.5, 3), same(source_, 0.5, 3);
  const JitteredSource other(source_, 0.5, 4), off(source_, 0, 3);
  const auto pixels = [](const DataSource& from, Split split) {
    return from.Load(split, 2)->pixels;
  };
  const std::vector<float> plain = pixels(source_, Split::kTrain);
  const std::vector<float> jittered = pixels(source, Split::kTrain);
  EXPECT_NE(jittered, plain);
  EXPECT_EQ(jittered, pixels(same, Split::kTrain));
  EXPECT_NE(jittered, pixels(other, Split::kTrain));
  EXPECT_EQ(plain, pixels(off, Split::kTrain));
  EXPECT_EQ(pixels(source, Split::kVal), pixels(source_, Split::kVal));
  for (float value : jittered) EXPECT_TRUE(value >= 0 && value <= 1);
}

TEST_F(PretrainPredictTest, RefusesAnEmptyTask) {
  PretrainOptions options = Options("d");
  options.epochs = 0;
  EXPECT_THAT(Run(options),
              IsError(absl::StatusCode::kInvalidArgument, "at least 1 epoch"));
  options.epochs = 1;
  options.scanner_jitter = 2;
  EXPECT_THAT(Run(options),
              IsError(absl::StatusCode::kInvalidArgument, "jitter of 0 to 1"));
}

TEST_F(PretrainPredictTest, RefusesAModelThatIsNotItsCards) {
  PretrainOptions options = Options("e");
  options.epochs = 1;
  ASSERT_THAT(Run(options), IsOk());
  Bytes content = *ReadFile(options.out_path);
  content.back() ^= 1;
  ASSERT_THAT(WriteFile(options.out_path, content), IsOk());
  EXPECT_THAT(LoadModelCard(options.out_path, ""),
              IsError(absl::StatusCode::kDataLoss, "its card"));
  EXPECT_THAT(LoadModelCard(options.out_path, folder_.File("none")),
              testing::HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedgraft
