#include "client/shift/watch_data.h"

#include <cmath>
#include <random>
#include <vector>

#include "client/shift/performance_estimate.h"
#include "client/shift/watch_checks.h"
#include "client/shift/watch_history.h"
#include "common/crypto/sha256.h"
#include "common/shift/label_shift.h"
#include "gmock/gmock.h"
#include "tests/shift/simulated_federation.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using testing::HasCode;
using testing::IsError;
using testing::IsOk;

// Two classes on a line, d deviations apart; the model's log odds are wrong by
// a factor and a constant, which calibration has to find.
struct Scores {
  std::vector<double> outputs, truth;  // [n, 2]; truth: at share 1/2
  std::vector<int64_t> labels;
  MatrixView View() const {
    return {outputs, static_cast<int64_t>(labels.size()), 2};
  }
  LabelledOutputs Labelled() const { return {View(), labels}; }
};
Scores DrawScores(int n, double share, uint64_t seed, double apart = 2) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  Scores scores;
  for (int i = 0; i < n; ++i) {
    const int64_t y = uniform(random) < share ? 1 : 0;
    const double x = normal(random) + (static_cast<double>(y) - 0.5) * apart;
    const auto add = [](double log_odds, std::vector<double>& to) {
      const double p = 1 / (1 + std::exp(-log_odds));
      to.insert(to.end(), {1 - p, p});
    };
    add(2.5 * apart * x + 0.8, scores.outputs);
    add(apart * x, scores.truth);
    scores.labels.push_back(y);
  }
  return scores;
}

double LogLoss(absl::Span<const double> posteriors,
               const std::vector<int64_t>& labels) {
  double sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    sum -= std::log(std::max(posteriors[2 * i + labels[i]], 1e-12));
  }
  return sum / static_cast<double>(labels.size());
}

TEST(SourceOutputsTest, CalibrationFindsTheTruePosteriors) {
  const Scores validation = DrawScores(4000, 0.5, 1);
  const auto source = SourceOutputs::Calibrate(validation.Labelled());
  ASSERT_THAT(source, IsOk());
  const Scores other = DrawScores(200, 0.5, 2);
  const auto posteriors = source->Posteriors(other.View());
  ASSERT_THAT(posteriors, IsOk());
  for (size_t i = 0; i < posteriors->size(); ++i) {
    EXPECT_NEAR((*posteriors)[i], other.truth[i], 0.04);
  }
  EXPECT_NEAR(source->prior()[1], 0.5, 0.03);
}

TEST(SourceOutputsTest, RefusesWhatItCannotLearnFrom) {
  Scores few = DrawScores(30, 0.5, 3);
  std::fill(few.labels.begin(), few.labels.end(), 0);
  EXPECT_THAT(SourceOutputs::Calibrate(few.Labelled()).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "of class 1"));
  few.outputs[3] = 2;
  EXPECT_THAT(SourceOutputs::Calibrate(few.Labelled()).status(),
              IsError(absl::StatusCode::kInvalidArgument, "record 1"));
  EXPECT_THAT(SourceOutputs::AsTheyAre({0.5, 0.6}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "add up to 1.1"));
  EXPECT_THAT(SourceOutputs::AsTheyAre({1, 0}).status(),
              IsError(absl::StatusCode::kInvalidArgument, "above 0"));
}

// Twenty sites whose share of class 1 is 0.2 where the validation records have
// one half: of the log loss that the true shares would save, EM saves 80 % in
// sum, and its intervals hold.
TEST(TargetPriorTest, RecoversMostOfTheLogLossThatLabelShiftCosts) {
  double saved = 0, savable = 0;
  int covered = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Scores validation = DrawScores(300, 0.5, 100 + seed);
    const Scores target = DrawScores(500, 0.2, 200 + seed);
    const auto source = SourceOutputs::Calibrate(validation.Labelled());
    ASSERT_THAT(source, IsOk());
    const auto prior = EstimateTargetPrior(target.View(), *source,
                                           validation.Labelled(), seed);
    ASSERT_THAT(prior, IsOk());
    const std::vector<double> posteriors = *source->Posteriors(target.View());
    const MatrixView view{posteriors, 500, 2};
    const auto loss = [&](absl::Span<const double> q) {
      return LogLoss(*CorrectPosteriors(view, source->prior(), q),
                     target.labels);
    };
    const double raw = LogLoss(posteriors, target.labels);
    savable += raw - loss({0.8, 0.2});
    saved += raw - loss(prior->prior);
    covered += prior->low[1] <= 0.2 && 0.2 <= prior->high[1] ? 1 : 0;
  }
  EXPECT_GT(savable / 20, 0.02);
  EXPECT_GE(saved, 0.8 * savable);
  // 95 % of 20; fewer than 16 with probability 3e-3.
  EXPECT_GE(covered, 16);
}

TEST(TargetPriorTest, NoClassBecomesImpossible) {
  const Scores validation = DrawScores(300, 0.5, 1, 6);
  const Scores target = DrawScores(100, 0, 2, 6);
  const auto source = SourceOutputs::Calibrate(validation.Labelled());
  const auto prior =
      EstimateTargetPrior(target.View(), *source, validation.Labelled(), 3);
  ASSERT_THAT(prior, IsOk());
  EXPECT_GT(prior->prior[1], 1e-3);
  EXPECT_LT(prior->prior[1], 0.02);
  EXPECT_GT(prior->high[1], 0.01);
}

// What the labels of the new records show lies in the interval, at the
// validation's shares and, with the correction, at others.
TEST(ExpectedPerformanceTest, HoldsWhatLabelsWouldShow) {
  for (const double share : {0.5, 0.2}) {
    SCOPED_TRACE(share);
    int auc = 0, accuracy = 0;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const Scores validation = DrawScores(200, 0.5, 300 + seed);
      const Scores target = DrawScores(150, share, 400 + seed);
      const auto expected = ExpectPerformance(
          target.View(), validation.Labelled(), share != 0.5, seed);
      const auto observed = ObservePerformance(target.Labelled());
      ASSERT_THAT(expected, IsOk());
      ASSERT_THAT(observed, IsOk());
      const auto holds = [](const MeasureInterval& in, double value) {
        return in.low <= value && value <= in.high ? 1 : 0;
      };
      auc += holds(*expected->auc, observed->auc->value);
      accuracy +=
          holds(expected->balanced_accuracy, observed->balanced_accuracy.value);
      EXPECT_LT(expected->auc->high - expected->auc->low, 0.25);
    }
    // 95 % of 20; fewer than 16 with probability 3e-3.
    EXPECT_GE(auc, 16);
    EXPECT_GE(accuracy, 16);
  }
}

TEST(ExpectedPerformanceTest, PerfectRanksLeaveRoomForError) {
  const Scores apart = DrawScores(100, 0.5, 1, 20);
  const auto observed = ObservePerformance(apart.Labelled());
  ASSERT_THAT(observed, IsOk());
  EXPECT_NEAR(observed->auc->value, 1, 1e-12);
  EXPECT_LT(observed->auc->low, 0.96);
  EXPECT_LT(observed->balanced_accuracy.low, 1);
}

TEST(ExpectedPerformanceTest, ObservesWhatTheDefinitionsSay) {
  // Pairs: of 2 x 3, 4 ordered and 1 tied. Recalls 2/3 and 1/2.
  const std::vector<double> outputs = {0.9, 0.1, 0.6, 0.4, 0.3,
                                       0.7, 0.6, 0.4, 0.1, 0.9};
  const auto observed = ObservePerformance({{outputs, 5, 2}, {0, 0, 0, 1, 1}});
  ASSERT_THAT(observed, IsOk());
  EXPECT_NEAR(observed->auc->value, 4.5 / 6, 1e-12);
  EXPECT_NEAR(observed->balanced_accuracy.value, (2.0 / 3 + 0.5) / 2, 1e-12);
  EXPECT_THAT(ObservePerformance({{outputs, 5, 2}, {0, 0, 0, 0, 0}}).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "class 1"));
}

constexpr double kLevel = 0.01;

class WatchDataTest : public ::testing::Test {
 protected:
  absl::StatusOr<WatchReport> Watch(const SiteDials& dials, uint64_t seed,
                                    int64_t records = 150) {
    const SimulatedRecords arrived =
        RecordSource(options_, seed).Draw(records, dials);
    const SketchRecords a = training_.View(options_),
                        v = validation_.View(options_),
                        b = arrived.View(options_);
    return WatchData({a.features, a.acquisition, {v.outputs, v.labels}},
                     {b.features, b.outputs, b.acquisition}, kLevel, 4);
  }
  SimulationOptions options_;
  SimulatedRecords training_ = RecordSource(options_, 1).Draw(400, {});
  SimulatedRecords validation_ = RecordSource(options_, 2).Draw(200, {});
};

TEST_F(WatchDataTest, NewScannerIsSeenInWhatItMoves) {
  const auto report = Watch({.covariate = 1}, 3);
  ASSERT_THAT(report, IsOk());
  EXPECT_TRUE(report->Differs());
  EXPECT_TRUE(report->Find("features")->differs);
  EXPECT_TRUE(report->Find("brightness")->differs);
  EXPECT_FALSE(report->Find("noise")->differs);
}

// Another scanner moves the outputs, too; that is no reason to correct shares.
TEST_F(WatchDataTest, NoSharesAreUndoneForAnotherScanner) {
  SiteDials dials{.prior = {0.2, 0.2, 0.6}};
  EXPECT_TRUE(Watch(dials, 5, 400)->undoes_label_shift);
  dials.covariate = 0.6;  // brightness, too
  EXPECT_FALSE(Watch(dials, 5, 400)->undoes_label_shift);
}

TEST_F(WatchDataTest, MoreOfTheSameIsQuiet) {
  int alarms = 0;
  for (uint64_t seed = 10; seed < 35; ++seed) {
    const auto report = Watch({}, seed);
    ASSERT_THAT(report, IsOk());
    EXPECT_EQ(report->results.size(), WatchChecks().size());
    EXPECT_TRUE(report->notes.empty());
    alarms += report->Differs() ? 1 : 0;
  }
  // 25 batches at 1 %: more than 2 with probability 2e-3.
  EXPECT_LE(alarms, 2);
}

TEST_F(WatchDataTest, OtherSharesAreEstimatedAndUndone) {
  const auto report = Watch({.prior = {0.2, 0.2, 0.6}}, 5, 400);
  ASSERT_THAT(report, IsOk());
  EXPECT_TRUE(report->Find("labels")->differs);
  EXPECT_TRUE(report->undoes_label_shift);
  EXPECT_NEAR(report->prior->prior[2], 0.6, 0.1);
  EXPECT_LT(report->source_prior[2], 0.4);
  EXPECT_FALSE(report->expected->auc.has_value());  // three classes
  EXPECT_NEAR(report->expected->balanced_accuracy.value,
              report->validation->balanced_accuracy.value, 0.1);
}

// A model that hardly knows the new images.
TEST_F(WatchDataTest, FallingPerformanceIsSeen) {
  options_.num_classes = 2;
  training_ = RecordSource(options_, 1).Draw(400, {});
  validation_ = RecordSource(options_, 2).Draw(300, {});
  SimulatedRecords arrived = RecordSource(options_, 3).Draw(300, {});
  for (double& p : arrived.outputs) p = 0.5 + 0.15 * (p - 0.5);
  const SketchRecords a = training_.View(options_),
                      v = validation_.View(options_),
                      b = arrived.View(options_);
  const auto report =
      WatchData({a.features, a.acquisition, {v.outputs, v.labels}},
                {b.features, b.outputs, b.acquisition}, kLevel, 4);
  ASSERT_THAT(report, IsOk());
  EXPECT_TRUE(report->performance_falls);
  // Other shares of the classes would not explain it.
  EXPECT_FALSE(report->undoes_label_shift);
  EXPECT_TRUE(report->Find("outputs")->differs);
  EXPECT_FALSE(report->Find("features")->differs);
}

TEST_F(WatchDataTest, SaysWhatIsMissing) {
  validation_ = RecordSource(options_, 2).Draw(10, {});
  auto report = Watch({}, 3);
  ASSERT_THAT(report, IsOk());
  ASSERT_EQ(report->notes.size(), 1u);
  EXPECT_THAT(report->notes[0], ::testing::HasSubstr("found 10"));
  EXPECT_FALSE(report->expected.has_value());
  EXPECT_EQ(report->Find("outputs"), nullptr);
  EXPECT_NE(report->Find("features"), nullptr);
  training_ = RecordSource(options_, 1).Draw(10, {});
  EXPECT_THAT(Watch({}, 3).status(),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Watch({}, 3, 19).status(),
              IsError(absl::StatusCode::kFailedPrecondition, "got 19"));
}

Digest Name(int batch) { return Sha256({static_cast<uint8_t>(batch)}); }

WatchReport ReportOf(double p) {
  WatchReport report;
  report.results = {
      {"features", {.p = p}}, {"noise", {.p = 0.5}}, {"contrast", {.p = 0.5}}};
  return report;
}

TEST(WatchHistoryTest, FindsASmallChangeThatLasts) {
  WatchHistory history;
  int batch = 0;
  // As p-values come by chance.
  for (const double p : {0.3, 0.8, 0.5, 0.9, 0.1, 0.6, 0.4, 0.7, 0.2, 0.5}) {
    ASSERT_THAT(history.Add(Name(++batch), 50, ReportOf(p)), IsOk());
  }
  EXPECT_FALSE(history.Charts()[0].alarmed);
  // None of these is below 1 %.
  for (int i = 0; i < 8; ++i) {
    ASSERT_THAT(history.Add(Name(++batch), 50, ReportOf(0.02)), IsOk());
  }
  const auto charts = history.Charts();
  EXPECT_EQ(charts[0].name, "features");
  EXPECT_TRUE(charts[0].alarmed);
  EXPECT_GT(charts[0].value, charts[0].threshold);
  EXPECT_FALSE(charts[1].alarmed);
  EXPECT_EQ(charts[1].batches, 18);
  EXPECT_EQ(charts[2].batches, 0);  // no check of outputs
  history.Acknowledge();
  EXPECT_FALSE(history.Charts()[0].alarmed);
  EXPECT_EQ(history.batches(), 18u);
}

TEST(WatchHistoryTest, CountsABatchOnceAndSurvivesItsFile) {
  WatchHistory history;
  EXPECT_TRUE(*history.Add(Name(1), 50, ReportOf(0.5)));
  EXPECT_TRUE(*history.Add(Name(2), 50, ReportOf(1e-300)));
  EXPECT_FALSE(*history.Add(Name(1), 50, ReportOf(0.5)));
  history.Acknowledge();
  const std::string json = history.Encode();
  const auto again = WatchHistory::Decode(json, "file");
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->Encode(), json);
  for (const char* bad :
       {"", "[]", "{\"version\": 2, \"batches\": []}",
        "{\"version\": 1, \"batches\": [{\"digest\": \"00\"}]}",
        "{\"version\": 1, \"batches\": {}}"}) {
    EXPECT_THAT(WatchHistory::Decode(bad, "file").status(),
                IsError(absl::StatusCode::kDataLoss, "file"))
        << bad;
  }
  std::string far = json;
  far.replace(far.find("8.0"), 3, "9.0");
  EXPECT_THAT(WatchHistory::Decode(far, "file").status(),
              HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedgraft
