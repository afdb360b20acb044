#include "tests/bench/experiments/noised_looks.h"

#include <cmath>
#include <utility>

#include "absl/status/statusor.h"
#include "client/shift/shift_test.h"
#include "common/base/check.h"
#include "common/shift/mmd.h"
#include "common/shift/shift_tests.h"
#include "common/shift/sketch_noise.h"
#include "tests/support/sim_random.h"

namespace fedgraft {
namespace {

void AddTo(std::vector<uint64_t>& total, const std::vector<uint64_t>& words) {
  for (size_t i = 0; i < total.size(); ++i) total[i] += words[i];
}

// Adds the stage's total; kDone if the look may go on.
LookEnd AddStage(const std::vector<uint64_t>& total, Sketch& sketch) {
  const SketchStage stage = sketch.stage();
  const absl::Status added =
      sketch.Add(UnpackSketch(sketch.layout(), total).value());
  if (added.ok()) return LookEnd::kDone;
  if (!absl::IsFailedPrecondition(added)) return LookEnd::kRefused;
  return stage == SketchStage::kMoments ? LookEnd::kFlat : LookEnd::kOpen;
}

// The others' mean has its noise beside the records' chance: as if a record's
// image varied by as much more in every direction.
double MmdTailOfNoise(const SiteView& view, double deviation) {
  EmbeddingMoments moments = MomentsOfEmbedding(view.embedding()).value();
  const double m = view.others_n();
  const double sites = view.Others("sites")[0];
  const double more = sites * deviation * deviation / (m * m) /
                      (1 / static_cast<double>(moments.n) + 1 / m);
  const auto size = static_cast<double>(moments.mean.size());
  moments.covariance_cube += 3 * more * moments.covariance_square +
                             3 * more * more * moments.covariance_trace +
                             size * more * more * more;
  moments.covariance_square +=
      2 * more * moments.covariance_trace + size * more * more;
  moments.covariance_trace += size * more;
  const auto test = TestMmd(moments, view.OthersMean("embedding"), m);
  if (!test.ok()) return 1;
  return MmdTail(moments, *test, m).value_or(1);
}

std::map<std::string_view, double> Decide(const SiteView& view,
                                          double deviation) {
  ShiftScalars scalars;
  for (const auto& test : AllShiftTests()) {
    bool is_decisive = false;
    for (std::string_view name : test->names()) {
      is_decisive |= FindShiftTest(name)->decisive;
    }
    ShiftScalars of_test;
    if (is_decisive && test->Run(view, of_test).ok()) scalars.merge(of_test);
  }
  std::map<std::string_view, double> p_values;
  for (const ShiftTestSpec& test : ShiftTests()) {
    if (!test.decisive) continue;
    const auto p = scalars.find(ShiftScalar(test.name, "p"));
    p_values[test.name] = p == scalars.end() ? 1 : p->second;
  }
  if (deviation > 0) p_values[kMmdOfNoise] = MmdTailOfNoise(view, deviation);
  return p_values;
}

}  // namespace

NoisedLooks::NoisedLooks(const SimulationOptions& options,
                         std::vector<const SimulatedRecords*> records,
                         uint64_t seed, int tested)
    : options_(options),
      records_(std::move(records)),
      seed_(seed),
      tested_(tested) {}

Sketch NoisedLooks::NewSketch(double multiplier) const {
  SketchSpec spec;
  spec.feature_dim = options_.feature_dim;
  spec.num_classes = options_.num_classes;
  spec.seed = seed_;
  spec.has_outputs = options_.has_outputs;
  spec.has_acquisition = options_.has_acquisition;
  spec.has_devices = options_.has_devices;
  spec.noise_multiplier = multiplier;
  return Sketch::Create(spec).value();
}

std::vector<SiteSketch> NoisedLooks::NewSites(const Sketch& sketch) const {
  std::vector<SiteSketch> sites;
  for (const SimulatedRecords* records : records_) {
    sites.push_back(
        SiteSketch::Create(sketch, records->View(options_)).value());
  }
  return sites;
}

LookResult NoisedLooks::TestAll(const Sketch& sketch,
                                const std::vector<SiteSketch>& sites,
                                double deviation) const {
  LookResult result;
  for (int s = 0; s < tested_; ++s) {
    const auto view = SiteView::Create(sketch, sites[s]);
    if (!view.ok()) return {LookEnd::kRefused, {}};
    result.p_values.push_back(Decide(*view, deviation));
  }
  return result;
}

LookResult NoisedLooks::Exact() {
  Sketch sketch = NewSketch(0);
  std::vector<SiteSketch> sites = NewSites(sketch);
  while (!sketch.done()) {
    const bool is_last = sketch.stage() == SketchStage::kSummary;
    if (is_last) before_summary_ = {sites.begin(), sites.begin() + tested_};
    const SketchLayout layout = sketch.layout();
    Words total(layout.count());
    for (SiteSketch& site : sites) {
      Words words = PackSketch(layout, site.Sums(sketch).value()).value();
      AddTo(total, words);
      if (is_last) summaries_.push_back(std::move(words));
    }
    if (!is_last) stages_.push_back(UnpackSketch(layout, total).value());
    const LookEnd end = AddStage(total, sketch);
    if (end != LookEnd::kDone) return {end, {}};
  }
  return TestAll(sketch, sites, 0);
}

LookResult NoisedLooks::EveryStage(double multiplier) {
  Sketch sketch = NewSketch(multiplier);
  std::vector<SiteSketch> sites = NewSites(sketch);
  testing::SimRandom random(seed_);
  while (!sketch.done()) {
    Words total(sketch.layout().count());
    for (SiteSketch& site : sites) {
      AddTo(total, site.NoisedWords(sketch, random).value());
    }
    const LookEnd end = AddStage(total, sketch);
    if (end != LookEnd::kDone) return {end, {}};
  }
  return TestAll(sketch, sites,
                 multiplier * sketch.layout().ScaledSensitivity());
}

LookResult NoisedLooks::LastStage(double multiplier) {
  FG_CHECK(!summaries_.empty());
  Sketch sketch = NewSketch(multiplier);
  for (const std::vector<double>& stage : stages_) {
    FG_CHECK(sketch.Add(stage).ok());
  }
  std::vector<SiteSketch> sites = before_summary_;
  testing::SimRandom random(seed_);
  Words total(sketch.layout().count());
  for (size_t s = 0; s < summaries_.size(); ++s) {
    if (s < sites.size()) {
      AddTo(total, sites[s].NoisedWords(sketch, random).value());
      continue;
    }
    Words words = summaries_[s];
    FG_CHECK(AddSketchNoise(sketch.layout(), multiplier, random,
                            absl::MakeSpan(words))
                 .ok());
    AddTo(total, words);
  }
  const LookEnd end = AddStage(total, sketch);
  if (end != LookEnd::kDone) return {end, {}};
  return TestAll(sketch, sites,
                 multiplier * sketch.layout().ScaledSensitivity());
}

LookResult NoisedLooks::WithoutHead(double multiplier) {
  constexpr std::string_view kHeadTests[] = {
      "covariate_adjusted", "label_score", "label_profiled", "concept_score"};
  // Noise goes by the number of parts: that of a summary of four.
  constexpr double kParts = 4;
  const SketchLayout whole(NewSketch(0).spec(), SketchStage::kSummary, 1, 1);
  const double of_summary =
      multiplier * std::sqrt(kParts) / whole.ScaledSensitivity();
  Sketch sketch = NewSketch(of_summary);
  std::vector<SiteSketch> sites = NewSites(sketch);
  testing::SimRandom random(seed_);
  while (!sketch.done()) {
    const SketchLayout layout = sketch.layout();
    Words total(layout.count());
    for (SiteSketch& site : sites) {
      if (layout.stage() == SketchStage::kSummary) {
        AddTo(total, site.NoisedWords(sketch, random).value());
        continue;
      }
      Words words = PackSketch(layout, site.Sums(sketch).value()).value();
      if (layout.stage() == SketchStage::kMoments) {
        FG_CHECK(
            AddSketchNoise(layout, multiplier, random, absl::MakeSpan(words))
                .ok());
      }
      AddTo(total, words);
    }
    const LookEnd end = AddStage(total, sketch);
    if (end != LookEnd::kDone) return {end, {}};
  }
  LookResult result = TestAll(sketch, sites, multiplier * std::sqrt(kParts));
  for (auto& p_values : result.p_values) {
    for (std::string_view test : kHeadTests) p_values.erase(test);
  }
  return result;
}

}  // namespace fedgraft
