#include "common/shift/sketch.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "client/shift/site_sketch.h"
#include "client/shift/site_view.h"
#include "common/shift/efficient_score.h"
#include "common/transfer/product_sums.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/shift/simulated_federation.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

SketchSpec SpecOf(const SimulationOptions& options) {
  SketchSpec spec;
  spec.feature_dim = options.feature_dim;
  spec.num_classes = options.num_classes;
  spec.seed = 7;
  spec.has_outputs = options.has_outputs;
  spec.has_acquisition = options.has_acquisition;
  spec.has_devices = options.has_devices;
  return spec;
}

// Sites' records, and their sums stage by stage as doubles.
class Federation {
 public:
  explicit Federation(SimulationOptions options = {}, int64_t feature_dim = 24,
                      const SiteDials& first = {})
      : options_(options), sketch_(Create(feature_dim)) {
    for (int s = 0; s < options_.sites; ++s) {
      RecordSource source(options_, 100 + s);
      records_.push_back(
          source.Draw(options_.records, s == 0 ? first : SiteDials()));
    }
    for (const SimulatedRecords& records : records_) {
      sites_.push_back(
          SiteSketch::Create(sketch_, records.View(options_)).value());
    }
  }

  std::vector<double> Pool() {
    std::vector<double> total(sketch_.layout().count());
    for (SiteSketch& site : sites_) {
      const std::vector<double> sums = site.Sums(sketch_).value();
      for (size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];
    }
    return total;
  }
  void Finish() {
    while (!sketch_.done()) ASSERT_TRUE(sketch_.Add(Pool()).ok());
  }
  Sketch& sketch() { return sketch_; }
  std::vector<SiteSketch>& sites() { return sites_; }
  const std::vector<SimulatedRecords>& records() const { return records_; }
  const SimulationOptions& options() const { return options_; }

 private:
  Sketch Create(int64_t feature_dim) {
    options_.feature_dim = feature_dim;
    return Sketch::Create(SpecOf(options_)).value();
  }
  SimulationOptions options_;
  Sketch sketch_;
  std::vector<SimulatedRecords> records_;
  std::vector<SiteSketch> sites_;
};

TEST(SketchTest, WordsHoldSumsToTheGridAndAddUpExactly) {
  Federation federation;
  for (SketchStage stage : {SketchStage::kMoments, SketchStage::kHead}) {
    const SketchLayout layout = federation.sketch().layout();
    ASSERT_EQ(layout.stage(), stage);
    std::vector<uint64_t> total(layout.count());
    for (SiteSketch& site : federation.sites()) {
      const auto words =
          PackSketch(layout, site.Sums(federation.sketch()).value());
      ASSERT_TRUE(words.ok());
      for (size_t i = 0; i < total.size(); ++i) total[i] += (*words)[i];
    }
    const std::vector<double> sums = UnpackSketch(layout, total).value();
    const std::vector<double> expected = federation.Pool();
    for (const SketchPart& part : layout.parts()) {
      const double error = part.fraction_bits == 0
                               ? 0
                               : 5.1 * std::ldexp(1.0, -part.fraction_bits - 1);
      for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
        ASSERT_NEAR(sums[i], expected[i], error) << part.name;
      }
    }
    ASSERT_TRUE(federation.sketch().Add(sums).ok());
  }
}

TEST(SketchTest, RefusesSumsThatDoNotFitRatherThanSaturate) {
  Federation federation;
  const SketchLayout& layout = federation.sketch().layout();
  std::vector<double> sums =
      federation.sites()[0].Sums(federation.sketch()).value();
  sums[layout.Part("features").begin + 3] = 1e12;
  const auto words = PackSketch(layout, sums);
  EXPECT_TRUE(absl::IsInvalidArgument(words.status()));
  EXPECT_THAT(std::string(words.status().message()), HasSubstr("features[3]"));
  sums[layout.Part("features").begin + 3] = std::nan("");
  EXPECT_FALSE(PackSketch(layout, sums).ok());
}

TEST(SketchTest, SpaceHasPooledMeanZeroAndUnitCovariance) {
  Federation federation;
  federation.Finish();
  const int64_t k = federation.sketch().space().dims();
  const auto& layout = federation.sketch().layout();
  const auto summary = federation.sketch().summary();
  const auto sum = SketchValues(layout, summary, "space");
  const auto products = SketchValues(layout, summary, "space_products");
  const double n = summary[1];
  EXPECT_GE(k, 12);
  for (int64_t i = 0; i < k; ++i) {
    EXPECT_NEAR(sum[i] / n, 0, 1e-9);
    for (int64_t j = i; j < k; ++j) {
      EXPECT_NEAR(products[PackedIndex(k, i, j)] / n, i == j ? 1 : 0, 1e-9);
    }
  }
}

TEST(SketchTest, SpaceMovesAsLittleAsTheSumsDo) {
  // Features of equal variance: eigenvectors would turn freely.
  SimulationOptions options;
  options.num_classes = 2;
  Federation federation(options, 12);
  const std::vector<double> pooled = federation.Pool();
  std::vector<double> nudged = pooled;
  for (double& value : nudged) value *= 1 + 1e-13;
  const SketchSpec& spec = federation.sketch().spec();
  const auto& layout = federation.sketch().layout();
  const SketchSpace a = SketchSpace::Create(spec, layout, pooled).value();
  const SketchSpace b = SketchSpace::Create(spec, layout, nudged).value();
  const std::vector<double> projected =
      federation.sketch()
          .projection()
          .Map(federation.records()[0].View(federation.options()).features)
          .value();
  const MatrixView view{projected, federation.options().records, 12};
  const auto za = a.Map(view).value(), zb = b.Map(view).value();
  ASSERT_EQ(za.size(), zb.size());
  for (size_t i = 0; i < za.size(); ++i) EXPECT_NEAR(za[i], zb[i], 1e-9);
}

TEST(SketchTest, ManyFeaturesAreProjectedAndOneHugeRecordIsShortened) {
  Federation federation({}, 200);
  SketchRecords records = federation.records()[0].View(federation.options());
  std::vector<double> features(records.features.values.begin(),
                               records.features.values.end());
  for (int64_t i = 0; i < 200; ++i) features[i] = 1e30;
  const std::vector<double> projected =
      federation.sketch()
          .projection()
          .Map({features, records.features.rows, 200})
          .value();
  double square = 0;
  for (int i = 0; i < kSketchProjectionMax; ++i) {
    square += projected[i] * projected[i];
  }
  EXPECT_NEAR(std::sqrt(square), kSketchFeatureNormMax, 1e-6);
  federation.Finish();
  EXPECT_TRUE(federation.sketch().done());
}

TEST(SketchTest, PooledHeadIsTheHeadOfAllRecords) {
  Federation federation;
  federation.Finish();
  const int64_t k = federation.sketch().space().head_dims();
  std::vector<double> z;
  std::vector<int64_t> labels;
  for (size_t s = 0; s < federation.sites().size(); ++s) {
    const auto& of_site = federation.sites()[s].space();
    z.insert(z.end(), of_site.begin(), of_site.end());
    const auto& own = federation.records()[s].labels;
    labels.insert(labels.end(), own.begin(), own.end());
  }
  ASSERT_EQ(k, federation.sketch().space().dims());
  const auto expected =
      FitReferenceHead({z, static_cast<int64_t>(labels.size()), k}, labels, 3,
                       PooledHead::kSlopeRidge);
  ASSERT_TRUE(expected.ok());
  for (size_t i = 0; i < expected->coefficients.size(); ++i) {
    EXPECT_NEAR(federation.sketch().head().coefficients()[i],
                expected->coefficients[i], 2e-3);
  }
}

TEST(SketchTest, HeadOfTheOthersIsTheirsEvenIfTheSiteBentThePooledOne) {
  SimulationOptions options;
  options.records = 500;
  Federation federation(options, 24, {.concept_change = 1});
  federation.Finish();
  const int64_t k = federation.sketch().space().head_dims();
  std::vector<double> z;
  std::vector<int64_t> labels;
  for (size_t s = 1; s < federation.sites().size(); ++s) {
    const std::vector<double> of_site =
        LeadingColumns({federation.sites()[s].space(), options.records,
                        federation.sketch().space().dims()},
                       k);
    z.insert(z.end(), of_site.begin(), of_site.end());
    const auto& own = federation.records()[s].labels;
    labels.insert(labels.end(), own.begin(), own.end());
  }
  const auto expected =
      FitReferenceHead({z, static_cast<int64_t>(labels.size()), k}, labels, 3,
                       PooledHead::kSlopeRidge);
  ASSERT_TRUE(expected.ok());
  const SiteView view =
      SiteView::Create(federation.sketch(), federation.sites()[0]).value();
  ASSERT_TRUE(view.head().ok());
  // In deviations of the others' estimate, of which the pooled head is off by
  // many.
  double most = 0, pooled = 0;
  const auto count = static_cast<int64_t>(expected->coefficients.size());
  for (int64_t i = 0; i < count; ++i) {
    const double deviation = std::sqrt(expected->covariance[i * count + i]);
    const double truth = expected->coefficients[i];
    most = std::max(most,
                    std::abs(view.head()->coefficients[i] - truth) / deviation);
    pooled = std::max(
        pooled, std::abs(federation.sketch().head().coefficients()[i] - truth) /
                    deviation);
    EXPECT_NEAR(std::sqrt(view.head()->covariance[i * count + i]), deviation,
                0.25 * deviation);
  }
  EXPECT_GT(pooled, 4);
  EXPECT_LT(most, 1.5);
}

TEST(SketchTest, SeparableRecordsHaveAHeadToo) {
  PooledHead head(2, 1);
  const std::vector<double> x{-2, -1, 1, 2};
  const std::vector<int64_t> y{0, 0, 1, 1};
  int steps = 0;
  while (!head.done()) {
    double loss = 0, score[2] = {}, information[3] = {};
    for (size_t i = 0; i < x.size(); ++i) {
      const double p = 1 / (1 + std::exp(-head.coefficients()[0] -
                                         head.coefficients()[1] * x[i]));
      loss -= std::log(y[i] == 1 ? p : 1 - p);
      score[0] += y[i] - p;
      score[1] += (y[i] - p) * x[i];
      information[0] += p * (1 - p);
      information[1] += p * (1 - p) * x[i];
      information[2] += p * (1 - p) * x[i] * x[i];
    }
    ASSERT_TRUE(head.Add(loss, score, information).ok());
    ++steps;
  }
  EXPECT_LE(steps, kSketchHeadStepsMax);
  EXPECT_GT(head.coefficients()[1], 1);
  EXPECT_LT(head.coefficients()[1], 5);
}

TEST(SketchTest, RefusesTooFewSitesAndStaysWhereItIs) {
  SimulationOptions options;
  options.sites = kSketchSitesMin - 1;
  Federation federation(options);
  const absl::Status status = federation.sketch().Add(federation.Pool());
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("4 to 64 sites"));
  EXPECT_EQ(federation.sketch().stage(), SketchStage::kMoments);
}

TEST(SketchTest, RefusesSiteOfTooFewRecords) {
  SimulationOptions options;
  const Sketch sketch = Sketch::Create(SpecOf(options)).value();
  RecordSource source(options, 1);
  const SimulatedRecords few = source.Draw(kSketchRecordsMin - 1, {});
  EXPECT_TRUE(absl::IsFailedPrecondition(
      SiteSketch::Create(sketch, few.View(options)).status()));
}

struct Tampering {
  const char* part;
  int64_t index;
  double value;
};

class TamperedSketchTest : public ::testing::TestWithParam<Tampering> {};

TEST_P(TamperedSketchTest, IsRefusedNamingThePart) {
  Federation federation;
  federation.Finish();
  const auto& layout = federation.sketch().layout();
  std::vector<double> sums = federation.sites()[0].summary();
  ASSERT_TRUE(CheckSketch(layout, sums).ok());
  sums[layout.Part(GetParam().part).begin + GetParam().index] =
      GetParam().value;
  const absl::Status status = CheckSketch(layout, sums);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().part));
}

INSTANTIATE_TEST_SUITE_P(
    Summary, TamperedSketchTest,
    ::testing::Values(
        Tampering{"records", 0, 3}, Tampering{"class_counts", 1, -1},
        Tampering{"class_counts", 1, 500},
        // |mean phi| would be above 1.
        Tampering{"embedding", 9, 200 * 0.0884},
        Tampering{"space_products", 0, -1}, Tampering{"loss", 0, -0.5},
        Tampering{"confusion", 0, 1e6}, Tampering{"acquisition", 12, 1e3},
        Tampering{"manufacturer", 2, 500}, Tampering{"manufacturer", 5, -1},
        Tampering{"model", kModelNotTold, 1e3},
        Tampering{"gradient", 0, std::nan("")}));

TEST(SketchTest, ASiteThatDoesNotTellCountsAllRecordsAsNotTold) {
  Federation federation;
  SimulatedRecords silent = federation.records()[0];
  silent.devices.clear();
  SiteSketch site =
      SiteSketch::Create(federation.sketch(), silent.View(federation.options()))
          .value();
  while (!federation.sketch().done()) {
    ASSERT_TRUE(site.Sums(federation.sketch()).ok());
    ASSERT_TRUE(federation.sketch().Add(federation.Pool()).ok());
  }
  const SketchLayout& layout = federation.sketch().layout();
  for (const char* name : {"manufacturer", "model"}) {
    const auto counts = SketchValues(layout, site.summary(), name);
    EXPECT_EQ(counts.back(), silent.labels.size()) << name;
    EXPECT_LT(
        SketchValues(layout, federation.sites()[0].summary(), name).back(),
        silent.labels.size());
  }
  EXPECT_TRUE(CheckSketch(layout, site.summary()).ok());
}

TEST(SketchTest, RefusesScannersOfOtherRecords) {
  Federation federation;
  SimulatedRecords records = federation.records()[0];
  records.devices.pop_back();
  const absl::Status status =
      SiteSketch::Create(federation.sketch(),
                         records.View(federation.options()))
          .status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("expected 200 scanners or none, got 199"));
}

}  // namespace
}  // namespace fedgraft
