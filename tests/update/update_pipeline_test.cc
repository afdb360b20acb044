#include "client/update/update_pipeline.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "common/model/evaluation_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/update/update_test_util.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;
using testing::Opened;
using testing::PayloadOf;
using testing::SmallLayout;
using testing::SmallPlan;

const ParameterVector kDelta = {0.5f, -0.25f, 0, 1, -1, 0.125f, 2, -3};

QuantizedUpdate Processed(const Plan& plan, ParameterVector delta,
                          uint64_t samples) {
  auto raw = RawUpdate::Create(SmallLayout(), std::move(delta), samples);
  FG_CHECK(raw.ok());
  auto quantized = QuantizedUpdate::FromUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plan), plan, /*rounding_seed=*/0);
  FG_CHECK(quantized.ok());
  return *std::move(quantized);
}

TEST(RawUpdateTest, RefusesNonFiniteValuesNamingTensorAndIndex) {
  const float bad[] = {std::nanf(""), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()};
  for (float value : bad) {
    ParameterVector delta = kDelta;
    delta[5] = value;  // fc.bias has 2 values, then fc.weight
    const auto raw = RawUpdate::Create(SmallLayout(), delta, 10);
    EXPECT_EQ(raw.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(raw.status().message()), HasSubstr("fc.weight[3]"));
  }
  ParameterVector delta = kDelta;
  delta[1] = std::nanf("");
  EXPECT_THAT(
      std::string(
          RawUpdate::Create(SmallLayout(), delta, 10).status().message()),
      HasSubstr("fc.bias[1]"));
}

TEST(RawUpdateTest, RefusesAnotherCountAndNoImages) {
  EXPECT_THAT(
      std::string(
          RawUpdate::Create(SmallLayout(), {1, 2, 3}, 10).status().message()),
      HasSubstr("3 values, the trainable set has 8"));
  EXPECT_FALSE(RawUpdate::Create(SmallLayout(), kDelta, 0).ok());
}

TEST(RawUpdateTest, ReadsTheTrainersFile) {
  testing::SimFileStore files;
  Bytes content(kDelta.size() * sizeof(float));
  std::memcpy(content.data(), kDelta.data(), content.size());
  files.SetContent("delta", content);
  const auto raw = ReadRawUpdate(files, "delta", SmallLayout(), 12);
  ASSERT_TRUE(raw.ok()) << raw.status();
  ParameterVector values(kDelta.size());
  ASSERT_TRUE(raw->delta().Read(0, absl::MakeSpan(values)).ok());
  EXPECT_EQ(values, kDelta);
  EXPECT_EQ(raw->samples(), 12u);

  content.pop_back();
  files.SetContent("delta", content);
  EXPECT_THAT(
      std::string(
          ReadRawUpdate(files, "delta", SmallLayout(), 12).status().message()),
      HasSubstr("31 bytes, expected 32"));
  EXPECT_EQ(ReadRawUpdate(files, "none", SmallLayout(), 12).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ClippedUpdateTest, ScalesToTheClipNormOnlyWhatIsAboveIt) {
  double norm = 0;
  for (float v : kDelta) norm += v * v;
  norm = std::sqrt(norm);
  struct Case {
    double clip_norm, expected;
  };
  for (const Case& c : {Case{0, norm}, Case{norm * 2, norm}, Case{1.5, 1.5},
                        Case{1e-3, 1e-3}}) {
    Plan plan = SmallPlan();
    plan.update.clip_norm = c.clip_norm;
    auto raw = RawUpdate::Create(SmallLayout(), kDelta, 10);
    ASSERT_TRUE(raw.ok());
    const auto clipped = *ClippedUpdate::Clip(*std::move(raw), plan);
    const ParameterVector values = *clipped.ReadAll();
    EXPECT_DOUBLE_EQ(clipped.l2_norm_before(), norm);
    EXPECT_NEAR(clipped.l2_norm_after(), c.expected, 1e-6 * c.expected);
    const double scale = c.expected / norm;
    for (size_t i = 0; i < kDelta.size(); ++i) {
      EXPECT_NEAR(values[i], kDelta[i] * scale, 1e-6);
    }
  }
}

TEST(QuantizedUpdateTest, HoldsTheWeightedValuesOnThePlansGrid) {
  const Plan plan = SmallPlan();
  const QuantizedUpdate update = Processed(plan, kDelta, 25);
  EXPECT_EQ(update.head().count, kDelta.size());
  EXPECT_EQ(update.head().ring, *TrainRing(plan));
  EXPECT_EQ(update.head().weight_word, uint64_t{1} << 30);  // 25 / 100
  EXPECT_EQ(update.head().saturated, 0u);
  EXPECT_EQ(update.head().layout, SmallLayout()->digest());
  const auto decoded = DecodeUpdateHead(
      absl::MakeConstSpan(PayloadOf(update)).first(UpdatePayloadHead::kBytes));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->count, kDelta.size());
  const std::vector<double> values = Opened(update);
  for (size_t i = 0; i < kDelta.size(); ++i) {
    EXPECT_NEAR(values[i], kDelta[i] * 0.25, update.head().ring.Step());
  }
}

// A weight of 1 / 3 is no word; the aggregator divides by the word nearby.
TEST(QuantizedUpdateTest, MultipliesByTheWeightThatItSends) {
  Plan plan = SmallPlan();
  plan.update.word_bits = 64;
  plan.update.weight_cap = 99;
  const QuantizedUpdate update = Processed(plan, kDelta, 33);
  const double weight = WeightOfWord(update.head().weight_word);
  ASSERT_NE(weight, 33.0 / 99);
  const auto values = Opened(update);
  for (size_t i = 0; i < kDelta.size(); ++i) {
    EXPECT_EQ(values[i], kDelta[i] * weight) << i;
  }
}

TEST(QuantizedUpdateTest, TellsOfNewsBesideTheWeight) {
  const Plan plan = SmallPlan();
  auto raw = RawUpdate::Create(SmallLayout(), kDelta, 25);
  const auto update = QuantizedUpdate::FromUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plan), plan, /*rounding_seed=*/0,
      /*has_news=*/true);
  const uint64_t word = update->head().weight_word;
  EXPECT_EQ(NewsOfWord(word), 1u);
  const QuantizedUpdate without = Processed(plan, kDelta, 25);
  EXPECT_EQ(NewsOfWord(without.head().weight_word), 0u);
  EXPECT_EQ(WeightOfWord(word), WeightOfWord(without.head().weight_word));
  EXPECT_EQ(Opened(*update), Opened(without));
}

TEST(QuantizedUpdateTest, CountsWhatExceedsTheRange) {
  const QuantizedUpdate update =
      Processed(SmallPlan(), {1e6f, -1e6f, 0, 1, -1, 0, 2, -3}, 100);
  EXPECT_EQ(update.head().saturated, 2u);
  const double largest =
      static_cast<double>(update.head().ring.TermMax(MaxTerms(SmallPlan()))) *
      update.head().ring.Step();
  EXPECT_GE(largest, SmallPlan().update.range * 0.999);
  EXPECT_EQ(Opened(update)[0], largest);
  EXPECT_EQ(Opened(update)[1], -largest);
}

// Slices of words must meet without a gap at every word width.
TEST(QuantizedUpdateTest, IsTheSameInSlicesAsInOnePiece) {
  constexpr int64_t kCount = (1 << 16) * 2 + 5;
  auto layout = ParameterLayout::Create({{"w", {kCount}, TensorKind::kWeight}});
  ASSERT_TRUE(layout.ok());
  const auto shared = std::make_shared<const ParameterLayout>(*layout);
  ParameterVector delta(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    delta[static_cast<size_t>(i)] = std::sin(static_cast<float>(i));
  }
  for (int bits : {8, 12, 16, 20, 24, 32, 64}) {
    SCOPED_TRACE(bits);
    Plan plan = SmallPlan();
    plan.update.word_bits = bits;
    auto raw = RawUpdate::Create(shared, delta, 50);
    ASSERT_TRUE(raw.ok());
    const auto update = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(raw), plan), plan, /*rounding_seed=*/0);
    ASSERT_TRUE(update.ok()) << update.status();
    const auto whole = Quantize(*TrainRing(plan), MaxTerms(plan), delta, 0.5);
    ASSERT_TRUE(whole.ok());
    Bytes packed(PackedBytes(bits, kCount));
    PackWords(bits, whole->words, absl::MakeSpan(packed));
    const Bytes payload = PayloadOf(*update);
    EXPECT_EQ(absl::MakeConstSpan(payload).subspan(UpdatePayloadHead::kBytes),
              absl::MakeConstSpan(packed));
  }
}

// Larger than a slice of any pass, and cut by the clip norm.
TEST(QuantizedUpdateTest, OfTheTrainersFileIsThatOfTheSameValuesInMemory) {
  constexpr int64_t kCount = (1 << 15) * 3 + 7;
  const auto layout =
      std::make_shared<const ParameterLayout>(*ParameterLayout::Create(
          {{"bn.running_mean", {5}, TensorKind::kBatchNormMean},
           {"w", {kCount - 5}, TensorKind::kWeight}}));
  ParameterVector delta(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    delta[static_cast<size_t>(i)] = std::cos(static_cast<float>(3 * i));
  }
  for (const char* rule : {"fed_avg", "fed_nova"}) {
    SCOPED_TRACE(rule);
    Plan plan = SmallPlan();
    plan.rule.kind = rule;
    plan.update.clip_norm = 100;
    plan.update.rounding = Rounding::kStochastic;
    testing::SimFileStore files;
    Bytes content(delta.size() * sizeof(float));
    std::memcpy(content.data(), delta.data(), content.size());
    files.SetContent("delta", content);
    auto from_file = ReadRawUpdate(files, "delta", layout, 65);
    ASSERT_TRUE(from_file.ok()) << from_file.status();
    // Its name goes as soon as it is open.
    ASSERT_TRUE(files.Remove("delta").ok());
    auto in_memory = RawUpdate::Create(layout, delta, 65);
    ASSERT_TRUE(in_memory.ok()) << in_memory.status();
    const auto read = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(from_file), plan), plan, 9);
    const auto kept = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(in_memory), plan), plan, 9);
    ASSERT_TRUE(read.ok() && kept.ok());
    EXPECT_EQ(PayloadOf(*read), PayloadOf(*kept));
    double squares = 0;
    const auto values = Opened(*read);
    for (int64_t i = 0; i < kCount; ++i) {
      const double value = values[static_cast<size_t>(i)] / 0.65;
      squares += value * value;
    }
    EXPECT_NEAR(std::sqrt(squares), 100, 0.01);
  }
}

// The head is sealed before the words are made.
TEST(QuantizedUpdateTest, TheHeadTellsBeforehandWhatTheWordsWillBeCutBy) {
  const Plan plan = SmallPlan();
  const double most = TrainRing(plan)->Step() *
                      static_cast<double>(TrainRing(plan)->TermMax(16));
  for (const double factor : {0.5, 0.999999, 1.000001, 2.0}) {
    const auto value = static_cast<float>(most * factor);
    const QuantizedUpdate update =
        Processed(plan, {value, 0, 0, 0, -value, 0, 0, 0}, 100);
    EXPECT_EQ(update.head().saturated, update.payload().Totals()->saturated)
        << factor;
    EXPECT_EQ(update.head().saturated, factor > 1 ? 2u : 0u) << factor;
  }
}

// fed_nova: 65 images in batches of 32 are 2 steps (the last image joins), the
// cap of 100 is 4; with momentum 0.9 they go as far as 2.9 and 9.049.
TEST(QuantizedUpdateTest, HoldsWhatOneStepMadeAndTheSteps) {
  Plan plan = SmallPlan();
  plan.rule.kind = "fed_nova";
  const double steps = 2.9 / 9.049;
  const auto values = Opened(Processed(plan, kDelta, 65));
  ASSERT_EQ(values.size(), kDelta.size() + 1);
  for (size_t i = 0; i < kDelta.size(); ++i) {
    EXPECT_NEAR(values[i], 0.65 * kDelta[i] / steps, 1e-6) << i;
  }
  EXPECT_NEAR(values.back(), 0.65 * steps, 1e-6);
}

TEST(QuantizedUpdateTest, ClipsWhatOneStepMade) {
  Plan plan = SmallPlan();
  plan.rule.kind = "fed_nova";
  plan.update.clip_norm = 1;
  const auto values = Opened(Processed(plan, kDelta, 65));
  double squares = 0;
  for (size_t i = 0; i < kDelta.size(); ++i) squares += values[i] * values[i];
  EXPECT_NEAR(std::sqrt(squares), 0.65, 1e-5);
}

TEST(QuantizedUpdateTest, RunningStatisticsAreNoWorkOfTheSteps) {
  auto layout =
      std::make_shared<const ParameterLayout>(*ParameterLayout::Create(
          {{"bn.running_mean", {1}, TensorKind::kBatchNormMean},
           {"bn.running_var", {1}, TensorKind::kBatchNormVar},
           {"fc.weight", {1}, TensorKind::kWeight}}));
  Plan plan = SmallPlan();
  plan.rule.kind = "fed_nova";
  auto raw = RawUpdate::Create(layout, {0.5f, 0.25f, 0.5f}, 65);
  ASSERT_TRUE(raw.ok());
  const auto clipped = *ClippedUpdate::Clip(*std::move(raw), plan);
  const ParameterVector values = *clipped.ReadAll();
  EXPECT_EQ(values[0], 0.5f);
  EXPECT_EQ(values[1], 0.25f);
  EXPECT_GT(values[2], 1.5f);
}

TEST(QuantizedUpdateTest, StepsBeyondTheGridAreAnErrorAndNotCut) {
  Plan plan = SmallPlan();
  plan.rule.kind = "fed_nova";
  auto raw = RawUpdate::Create(SmallLayout(), kDelta, 10000);
  ASSERT_TRUE(raw.ok());
  const auto quantized = QuantizedUpdate::FromUpdate(
      *ClippedUpdate::Clip(*std::move(raw), plan), plan, /*rounding_seed=*/0);
  EXPECT_EQ(quantized.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(quantized.status().message()),
              HasSubstr("update.weight_cap"));
}

TEST(QuantizedUpdateTest, RoundsStochasticallyIfThePlanSaysSo) {
  Plan plan = SmallPlan();
  plan.update.word_bits = 8;  // a step of 1 for 16 terms of up to 4
  plan.update.rounding = Rounding::kStochastic;
  const ParameterVector delta = {0.5f, -0.5f, 0.25f, 1, 0.5f, 0.5f, -2, 0.5f};
  const auto words_of = [&](uint64_t seed) {
    auto raw = RawUpdate::Create(SmallLayout(), delta, 100);
    FG_CHECK(raw.ok());
    const auto update = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(raw), plan), plan, seed);
    FG_CHECK(update.ok());
    return Opened(*update);
  };
  std::vector<double> mean(delta.size(), 0);
  constexpr int kSeeds = 4000;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const auto values = words_of(seed);
    EXPECT_EQ(values, words_of(seed));
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += values[i] / kSeeds;
  }
  // Six standard deviations, of at most half a step.
  const double step = TrainRing(plan)->Step();
  for (size_t i = 0; i < mean.size(); ++i) {
    EXPECT_NEAR(mean[i], delta[i], 3 * step / std::sqrt(kSeeds)) << i;
  }
}

// They are a factor of everybody's update.
TEST(QuantizedUpdateTest, StepsAreRoundedToNearestWhateverThePlanSays) {
  Plan plan = SmallPlan();
  plan.rule.kind = "fed_nova";
  plan.update.word_bits = 16;
  const double to_nearest = Opened(Processed(plan, kDelta, 65)).back();
  plan.update.rounding = Rounding::kStochastic;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    auto raw = RawUpdate::Create(SmallLayout(), kDelta, 65);
    ASSERT_TRUE(raw.ok());
    const auto update = QuantizedUpdate::FromUpdate(
        *ClippedUpdate::Clip(*std::move(raw), plan), plan, seed);
    ASSERT_TRUE(update.ok()) << update.status();
    EXPECT_EQ(Opened(*update).back(), to_nearest) << seed;
  }
}

TEST(QuantizedUpdateTest, TellsTheErrorInUnitsOfTheUpdate) {
  Plan plan = SmallPlan();
  plan.update.word_bits = 8;
  const ParameterVector delta = {0.1f, 0, 0, 0, 0, 0, 0, 1.9f};
  const double weight = 0.5;
  const QuantizedUpdate update = Processed(plan, delta, 50);
  const auto values = Opened(update);
  double squares = 0;
  for (size_t i = 0; i < delta.size(); ++i) {
    const double error = values[i] / weight - delta[i];
    squares += error * error;
  }
  EXPECT_GT(squares, 0);
  EXPECT_NEAR(testing::ErrorRmsOf(update), std::sqrt(squares / 8), 1e-9);
  plan.update.word_bits = 32;
  EXPECT_LT(testing::ErrorRmsOf(Processed(plan, delta, 50)), 1e-7);
}

TEST(EvaluationSumsTest, QuantisesOnThe64BitRingWithoutWeight) {
  const Plan plan = SmallPlan();
  const int64_t count = EvaluationLayout(2).Count();
  std::vector<double> sums(static_cast<size_t>(count), 0);
  sums[0] = 1e6;
  sums[1] = 123456.75;
  sums.back() = 17;
  auto valid = EvaluationSums::Create(plan, sums);
  ASSERT_TRUE(valid.ok()) << valid.status();
  const auto update = QuantizedUpdate::FromSums(*std::move(valid), plan);
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_EQ(update->head().ring, EvaluationRing());
  EXPECT_EQ(update->head().layout, Digest());
  EXPECT_EQ(update->head().weight_word, uint64_t{1} << 32);
  EXPECT_EQ(Opened(*update), sums);
}

TEST(EvaluationSumsTest, RefusesWhatATrainerMustNotSend) {
  const Plan plan = SmallPlan();
  const size_t count = static_cast<size_t>(EvaluationLayout(2).Count());
  EXPECT_THAT(
      std::string(EvaluationSums::Create(plan, {1, 2, 3}).status().message()),
      HasSubstr("3 sums"));
  for (double bad : {std::nan(""), -1.0, 1 / 0.0}) {
    std::vector<double> sums(count, 0);
    sums[7] = bad;
    const auto status = EvaluationSums::Create(plan, sums).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("evaluation sum 7"));
  }
}

}  // namespace
}  // namespace fedgraft
