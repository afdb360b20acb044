#include "common/shift/sketch_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "client/shift/site_sketch.h"
#include "client/shift/site_view.h"
#include "common/shift/sketch.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/shift/simulated_federation.h"
#include "tests/support/sim_random.h"

namespace fedgraft {
namespace {

constexpr int64_t kFeatures = 12;
constexpr int kClasses = 3;
constexpr int64_t kRecords = 40;

SimulationOptions Options() {
  SimulationOptions options;
  options.feature_dim = kFeatures;
  options.num_classes = kClasses;
  options.records = kRecords;
  options.sites = kSketchSitesMin;
  return options;
}

Sketch NewSketch(double noise_multiplier = 0) {
  SketchSpec spec;
  spec.feature_dim = kFeatures;
  spec.num_classes = kClasses;
  spec.seed = 7;
  spec.has_outputs = true;
  spec.has_acquisition = true;
  spec.has_devices = true;
  spec.noise_multiplier = noise_multiplier;
  return Sketch::Create(spec).value();
}

SimulatedRecords Drawn(int site) {
  RecordSource source(Options(), 100 + site);
  return source.Draw(kRecords, {});
}

std::vector<double> SumsOf(const Sketch& sketch,
                           const SimulatedRecords& records) {
  return SiteSketch::Create(sketch, records.View(Options()))
      ->Sums(sketch)
      .value();
}

std::vector<double> Pooled(const Sketch& sketch) {
  std::vector<double> total(sketch.layout().count());
  for (int s = 0; s < kSketchSitesMin; ++s) {
    const std::vector<double> sums = SumsOf(sketch, Drawn(s));
    for (size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
  }
  return total;
}

// Sums that no records have but CheckSketch accepts: without information, the
// gradient sends the head as far out as can be.
std::vector<double> HostileHead(const Sketch& sketch, double first_class,
                                double second_class) {
  std::vector<double> sums = Pooled(sketch);
  const SketchPart& gradient = sketch.layout().Part("gradient");
  const SketchPart& information = sketch.layout().Part("information");
  std::fill_n(sums.begin() + gradient.begin, gradient.count, 0);
  std::fill_n(sums.begin() + information.begin, information.count, 0);
  const int64_t width = gradient.count / (kClasses - 1);
  const double most = gradient.bound * sums[1];
  sums[gradient.begin + 1] = first_class * most;
  sums[gradient.begin + width + 1] = second_class * most;
  return sums;
}

struct Attack {
  int axis;
  double away;  // along it
  int64_t label;
  int output;  // all of the model's confidence
};

void Append(const Attack& attack, SimulatedRecords& records) {
  std::vector<double> x(kFeatures), outputs(kClasses);
  x[attack.axis] = attack.away;
  outputs[attack.output] = 1;
  records.features.insert(records.features.end(), x.begin(), x.end());
  records.outputs.insert(records.outputs.end(), outputs.begin(), outputs.end());
  records.acquisition.insert(records.acquisition.end(), kAcquisitions,
                             attack.away);
  records.labels.push_back(attack.label);
  records.devices.push_back({static_cast<uint8_t>(attack.axis), 31});
}

// What the worst of many records far out changes.
struct Worst {
  std::map<std::string_view, double> by_part;  // in record norms
  double scaled = 0;  // over all parts, in scaled sensitivities
};

void AttackStage(const Sketch& sketch, Worst& worst) {
  const SketchLayout& layout = sketch.layout();
  const SimulatedRecords without = Drawn(0);
  const std::vector<double> before = SumsOf(sketch, without);
  for (int axis = 0; axis < kFeatures; ++axis) {
    for (const double away : {-1e6, -1.0, 1.0, 1e6}) {
      for (int64_t label = 0; label < kClasses; ++label) {
        SimulatedRecords with = without;
        Append({axis, away, label, axis % kClasses}, with);
        const std::vector<double> after = SumsOf(sketch, with);
        double scaled = 0;
        for (const SketchPart& part : layout.parts()) {
          double squares = 0;
          for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
            squares += (after[i] - before[i]) * (after[i] - before[i]);
          }
          if (part.kind == SketchPartKind::kSites) {
            EXPECT_EQ(squares, 0);
            continue;
          }
          const double norms = std::sqrt(squares) / part.record_norm;
          double& most = worst.by_part[part.name];
          most = std::max(most, norms);
          scaled += norms * norms;
        }
        worst.scaled = std::max(worst.scaled,
                                std::sqrt(scaled) / layout.ScaledSensitivity());
      }
    }
  }
}

// A looser bound would be noise for nothing.
void ExpectMetBounds(const Worst& worst, double least) {
  for (const auto& [part, norms] : worst.by_part) {
    EXPECT_LE(norms, 1 + 1e-9) << part;
    EXPECT_GE(norms, least) << part;
  }
  EXPECT_LE(worst.scaled, 1 + 1e-9);
  EXPECT_GE(worst.scaled, least);
}

TEST(SketchSensitivityTest, NoRecordMovesMomentsBeyondTheirBounds) {
  const Sketch sketch = NewSketch();
  Worst worst;
  AttackStage(sketch, worst);
  EXPECT_EQ(worst.by_part.size(), 5);
  ExpectMetBounds(worst, 0.999);
}

TEST(SketchSensitivityTest, NoRecordMovesHeadBeyondItsBoundsWhereverItIsSent) {
  Worst worst;
  // A head at rest, then one that is sent far out.
  for (const auto& [first, second] :
       {std::pair(0.9, 0.0), std::pair(-0.9, 0.9), std::pair(0.9, 0.9)}) {
    Sketch sketch = NewSketch();
    ASSERT_TRUE(sketch.Add(Pooled(sketch)).ok());
    AttackStage(sketch, worst);
    ASSERT_TRUE(sketch.Add(HostileHead(sketch, first, second)).ok());
    ASSERT_EQ(sketch.stage(), SketchStage::kHead);
    AttackStage(sketch, worst);
  }
  EXPECT_EQ(worst.by_part.size(), 5);
  // Information is packed, which halves what is off the diagonal.
  ExpectMetBounds(worst, 0.6);
  EXPECT_GT(worst.by_part["loss"], 0.98);
  EXPECT_GT(worst.by_part["gradient"], 0.999);
}

TEST(SketchSensitivityTest, NoRecordMovesSummaryBeyondItsBounds) {
  Sketch sketch = NewSketch();
  while (sketch.stage() != SketchStage::kSummary) {
    ASSERT_TRUE(sketch.Add(Pooled(sketch)).ok());
  }
  Worst worst;
  AttackStage(sketch, worst);
  EXPECT_EQ(worst.by_part.size(), 14);
  EXPECT_LE(worst.scaled, 1 + 1e-9);
  for (const auto& [part, norms] : worst.by_part) {
    EXPECT_LE(norms, 1 + 1e-9) << part;
    // What belongs to the head depends on where that is.
    if (part == "loss" || part == "gradient" || part == "information") continue;
    EXPECT_GE(norms, 0.7) << part;
  }
}

TEST(SketchNoiseTest, HasTheStatedDeviationInEveryPartOfEveryStage) {
  constexpr int kDraws = 400;
  constexpr double kMultiplier = 2.5;
  Sketch sketch = NewSketch();
  testing::SimRandom random(5);
  while (!sketch.done()) {
    const SketchLayout& layout = sketch.layout();
    const std::vector<double> sums = SumsOf(sketch, Drawn(0));
    const std::vector<uint64_t> words = PackSketch(layout, sums).value();
    std::vector<double> squares(sums.size());
    const int draws = layout.stage() == SketchStage::kSummary ? 40 : kDraws;
    for (int draw = 0; draw < draws; ++draw) {
      std::vector<uint64_t> noised = words;
      ASSERT_TRUE(
          AddSketchNoise(layout, kMultiplier, random, absl::MakeSpan(noised))
              .ok());
      const std::vector<double> after = UnpackSketch(layout, noised).value();
      for (size_t i = 0; i < sums.size(); ++i) {
        squares[i] += (after[i] - sums[i]) * (after[i] - sums[i]);
      }
      EXPECT_TRUE(CheckSketch(layout, after, 1, kMultiplier).ok());
    }
    for (const SketchPart& part : layout.parts()) {
      double sum = 0;
      for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
        sum += squares[i];
      }
      if (part.kind == SketchPartKind::kSites) {
        EXPECT_EQ(sum, 0);
        continue;
      }
      const double numbers = static_cast<double>(part.count) * draws;
      const double stated =
          kMultiplier * layout.ScaledSensitivity() * part.record_norm;
      // Five standard errors; a variance is rounded up to a whole one.
      EXPECT_NEAR(std::sqrt(sum / numbers) / stated, 1,
                  0.02 + 5 / std::sqrt(2 * numbers))
          << part.name;
    }
    ASSERT_TRUE(sketch.Add(Pooled(sketch)).ok());
  }
}

TEST(SketchNoiseTest, LeavesNothingBelowItsGrid) {
  const Sketch sketch = NewSketch();
  const SketchLayout& layout = sketch.layout();
  std::vector<uint64_t> words =
      PackSketch(layout, SumsOf(sketch, Drawn(0))).value();
  testing::SimRandom random(5);
  ASSERT_TRUE(AddSketchNoise(layout, 1, random, absl::MakeSpan(words)).ok());
  const SketchPart& part = layout.Part("feature_products");
  const double deviation = layout.ScaledSensitivity() * part.record_norm;
  // 2^-20 deviations or a little more, in steps of the words.
  const auto grid = static_cast<int>(std::floor(std::log2(deviation)) +
                                     part.fraction_bits - 20);
  ASSERT_GT(grid, 10);
  for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
    EXPECT_EQ(words[i] % (uint64_t{1} << grid), 0);
  }
}

TEST(SketchNoiseTest, RefusesMultipliersAndWordsThatAreNone) {
  const Sketch sketch = NewSketch();
  testing::SimRandom random(5);
  std::vector<uint64_t> words(sketch.layout().count());
  for (const double multiplier :
       {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(AddSketchNoise(
        sketch.layout(), multiplier, random, absl::MakeSpan(words))));
  }
  words.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(
      AddSketchNoise(sketch.layout(), 1, random, absl::MakeSpan(words))));
}

// The others' sums hold the others' noise, not the site's own.
TEST(SketchNoiseTest, SiteTakesWhatItHasSentFromThePooledSums) {
  Sketch sketch = NewSketch(/*noise_multiplier=*/1);
  // Noise in the summary alone, so that few records find their head.
  while (sketch.stage() != SketchStage::kSummary) {
    ASSERT_TRUE(sketch.Add(Pooled(sketch)).ok());
  }
  std::vector<SimulatedRecords> records;
  for (int s = 0; s < kSketchSitesMin; ++s) records.push_back(Drawn(s));
  std::vector<SiteSketch> sites;
  for (const SimulatedRecords& of_site : records) {
    sites.push_back(
        SiteSketch::Create(sketch, of_site.View(Options())).value());
  }
  testing::SimRandom random(5);
  const SketchLayout& layout = sketch.layout();
  std::vector<uint64_t> others(layout.count());
  std::vector<uint64_t> total = sites[0].NoisedWords(sketch, random).value();
  for (size_t s = 1; s < sites.size(); ++s) {
    const auto words = sites[s].NoisedWords(sketch, random).value();
    for (size_t i = 0; i < words.size(); ++i) others[i] += words[i];
  }
  for (size_t i = 0; i < total.size(); ++i) total[i] += others[i];
  ASSERT_TRUE(sketch.Add(UnpackSketch(layout, total).value()).ok());
  const SiteView view = SiteView::Create(sketch, sites[0]).value();
  const std::vector<double> expected = UnpackSketch(layout, others).value();
  for (const char* part : {"class_counts", "embedding"}) {
    EXPECT_THAT(view.Others(part), ::testing::ElementsAreArray(SketchValues(
                                       sketch.layout(), expected, part)));
  }
  // Its own sums are exact: it tests with what it has.
  EXPECT_NE(sites[0].sent(), sites[0].summary());
  EXPECT_THAT(view.Own("embedding"),
              ::testing::ElementsAreArray(
                  SketchValues(layout, sites[0].summary(), "embedding")));
}

}  // namespace
}  // namespace fedgraft
