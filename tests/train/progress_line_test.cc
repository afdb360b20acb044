#include "client/train/progress_line.h"

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class HandClock : public Clock {
 public:
  absl::Time Monotonic() const override { return now; }
  absl::Time Wall() const override { return now; }
  absl::Time now = absl::UnixEpoch();
};

// 10 epochs of 10 steps of 32 images.
SslProgress At(int64_t step) {
  SslProgress progress;
  progress.epoch = static_cast<int>((step - 1) / 10) + 1;
  progress.epochs = 10;
  progress.step = step;
  progress.steps = 100;
  progress.images_per_step = 32;
  progress.loss = 2.5;
  progress.epoch_ends = step % 10 == 0;
  return progress;
}

class ProgressLineTest : public ::testing::Test {
 protected:
  std::unique_ptr<ProgressLine> Make(int width) {
    return std::make_unique<ProgressLine>(
        clock_, width, [this](std::string_view text) { written_ += text; });
  }
  std::string Show(ProgressLine& line, int64_t step, double seconds) {
    clock_.now = absl::UnixEpoch() + absl::Seconds(seconds);
    written_.clear();
    line.Show(At(step));
    return written_;
  }

  HandClock clock_;
  std::string written_;
};

TEST_F(ProgressLineTest, DrawsABarOverItselfOnATerminal) {
  const auto line = Make(100);
  EXPECT_EQ(Show(*line, 25, 10),
            "\repoch 3/10  loss 2.5000  80 images/s  ETA 30s  "
            "[#######.......................]  25%\x1b[K");
  // Not more often than anyone can read.
  EXPECT_EQ(Show(*line, 26, 10.1), "");
  EXPECT_THAT(Show(*line, 27, 10.3), HasSubstr("epoch 3/10"));
  EXPECT_THAT(Show(*line, 100, 40), HasSubstr("took 40s"));
  EXPECT_EQ(written_.back(), '\n');
}

TEST_F(ProgressLineTest, FitsANarrowTerminal) {
  const auto line = Make(40);
  const std::string text = Show(*line, 25, 10);
  EXPECT_LE(text.size(), 1 + 39 + 3u);
  EXPECT_THAT(text, Not(HasSubstr("[#")));
}

TEST_F(ProgressLineTest, EndsALineThatIsBeingDrawn) {
  auto line = Make(100);
  Show(*line, 25, 10);
  written_.clear();
  line.reset();
  EXPECT_EQ(written_, "\n");
}

TEST_F(ProgressLineTest, PrintsPlainLinesElsewhere) {
  const auto line = Make(0);
  EXPECT_EQ(Show(*line, 5, 10), "");
  EXPECT_EQ(Show(*line, 10, 20),
            "epoch 1/10  loss 2.5000  16 images/s  ETA 3m00s\n");
  // A long epoch tells of itself every half minute.
  EXPECT_EQ(Show(*line, 14, 49), "");
  EXPECT_THAT(Show(*line, 15, 50), HasSubstr("epoch 2/10"));
}

TEST_F(ProgressLineTest, CountsFromWhereItWentOn) {
  const auto line = Make(0);
  SslProgress resumed = At(50);
  resumed.resumed = true;
  line->Show(resumed);
  EXPECT_EQ(written_, "resuming after step 50 of 100\n");
  EXPECT_EQ(Show(*line, 60, 10),
            "epoch 6/10  loss 2.5000  32 images/s  ETA 40s\n");
}

}  // namespace
}  // namespace fedgraft
