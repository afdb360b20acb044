#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "client/shift/negative_transfer.h"
#include "client/shift/performance_estimate.h"
#include "client/shift/shift_test.h"
#include "common/shift/shift_tests.h"
#include "gtest/gtest.h"
#include "tests/shift/simulated_federation.h"

namespace fedgraft {
namespace {

std::vector<SimulatedRecords> Draw(const SimulationOptions& options,
                                   uint64_t seed, const SiteDials& first = {}) {
  std::vector<SimulatedRecords> records;
  for (int s = 0; s < options.sites; ++s) {
    RecordSource source(options, seed * 1009 + s);
    records.push_back(
        source.Draw(options.records, s == 0 ? first : SiteDials()));
  }
  return records;
}

ShiftScalars First(const SimulationOptions& options, uint64_t seed,
                   const SiteDials& dials = {}) {
  return SketchAndTest(options, Draw(options, seed, dials), seed, 1).value()[0];
}

double P(const ShiftScalars& scalars, const std::string& test) {
  const auto p = scalars.find(ShiftScalar(test, "p"));
  return p == scalars.end() ? 1 : p->second;
}

// Share of `runs` federations in which the test rejects at 5 %.
double Rejects(const SimulationOptions& options, const std::string& test,
               const SiteDials& dials, int runs) {
  int rejected = 0;
  for (int run = 0; run < runs; ++run) {
    rejected += P(First(options, run, dials), test) <= 0.05 ? 1 : 0;
  }
  return static_cast<double>(rejected) / runs;
}

TEST(ShiftTestListTest, EveryNamedTestIsRunByExactlyOne) {
  std::multiset<std::string> run;
  for (const auto& test : AllShiftTests()) {
    for (std::string_view name : test->names()) run.emplace(name);
  }
  std::multiset<std::string> named;
  for (const ShiftTestSpec& test : ShiftTests()) named.emplace(test.name);
  EXPECT_EQ(run, named);
}

// Over the list: every test, at the size that it promises.
TEST(ShiftTestConformanceTest, HasItsSizeIfNothingDiffers) {
  // 600 tests: P(outside [0.022, 0.088]) < 1e-3 at 5 %.
  SimulationOptions options;
  options.records = 100;
  options.sites = 6;
  std::map<std::string, int> rejected;
  int tested = 0;
  for (uint64_t run = 0; run < 200; ++run) {
    const auto sites =
        SketchAndTest(options, Draw(options, run), run, 3).value();
    for (const ShiftScalars& scalars : sites) {
      ++tested;
      for (const ShiftTestSpec& test : ShiftTests()) {
        const std::string name(test.name);
        ASSERT_TRUE(scalars.contains(ShiftScalar(name, "p"))) << name;
        rejected[name] += P(scalars, name) <= 0.05 ? 1 : 0;
      }
    }
  }
  for (const ShiftTestSpec& test : ShiftTests()) {
    const double size =
        static_cast<double>(rejected[std::string(test.name)]) / tested;
    EXPECT_GT(size, 0.018) << test.name;
    EXPECT_LT(size, 0.09) << test.name;
  }
}

void ExpectSound(const ShiftScalars& scalars) {
  EXPECT_TRUE(scalars.contains("shift.records"));
  for (const auto& [name, value] : scalars) {
    EXPECT_TRUE(std::isfinite(value)) << name;
    if (name.ends_with(".p")) {
      EXPECT_GE(value, 0) << name;
      EXPECT_LE(value, 1) << name;
    }
  }
}

class EdgeCaseTest : public ::testing::Test {
 protected:
  ShiftScalars TestFirst() {
    const auto sites = SketchAndTest(options_, records_, 3, 1);
    EXPECT_TRUE(sites.ok()) << sites.status();
    return sites.ok() ? (*sites)[0] : ShiftScalars();
  }
  SimulationOptions options_;
  std::vector<SimulatedRecords> records_ = Draw(options_, 3);
};

TEST_F(EdgeCaseTest, SiteOfOneClassIsTestedWithoutAFit) {
  for (int64_t& label : records_[0].labels) label = 1;
  const ShiftScalars scalars = TestFirst();
  ExpectSound(scalars);
  EXPECT_FALSE(scalars.contains("shift.concept_score.p"));
  EXPECT_LT(P(scalars, "label_score"), 1e-6);
}

TEST_F(EdgeCaseTest, TinySiteIsFinite) {
  options_.records = kSketchRecordsMin;
  records_[0] = RecordSource(options_, 9).Draw(kSketchRecordsMin, {});
  ExpectSound(TestFirst());
}

TEST_F(EdgeCaseTest, SiteOfConstantFeaturesIsFinite) {
  std::fill(records_[0].features.begin(), records_[0].features.end(), 0.25);
  const ShiftScalars scalars = TestFirst();
  ExpectSound(scalars);
  EXPECT_FALSE(scalars.contains("shift.covariate_mmd.p"));
}

TEST_F(EdgeCaseTest, FeatureThatIsConstantEverywhereIsLeftOut) {
  for (SimulatedRecords& records : records_) {
    for (size_t i = 0; i < records.features.size(); i += options_.feature_dim) {
      records.features[i] = 7;
    }
  }
  const ShiftScalars scalars = TestFirst();
  ExpectSound(scalars);
  EXPECT_TRUE(scalars.contains("shift.covariate_mmd.p"));
}

TEST_F(EdgeCaseTest, ClassThatNoOtherSiteHasIsFinite) {
  for (size_t s = 1; s < records_.size(); ++s) {
    for (int64_t& label : records_[s].labels) label = label == 2 ? 1 : label;
  }
  ExpectSound(TestFirst());
}

TEST_F(EdgeCaseTest, WithoutOutputsAndAcquisitionTheOtherTestsRun) {
  options_.has_outputs = options_.has_acquisition = options_.has_devices =
      false;
  const ShiftScalars scalars = TestFirst();
  ExpectSound(scalars);
  EXPECT_TRUE(scalars.contains("shift.concept_score.p"));
  EXPECT_FALSE(scalars.contains("shift.covariate_outputs.p"));
  EXPECT_FALSE(scalars.contains("shift.acquisition_noise.p"));
  EXPECT_FALSE(scalars.contains("shift.acquisition_model.p"));
}

TEST_F(EdgeCaseTest, ScannersThatTooFewRecordsTellAreNotCompared) {
  const auto tell = [this](size_t site, int records) {
    for (int i = 0; i < static_cast<int>(records_[site].devices.size()); ++i) {
      records_[site].devices[i] =
          i < records ? DeviceBins{uint8_t(i % 2), uint8_t(i % 2)}
                      : DeviceBins();
    }
  };
  tell(0, kSketchRecordsMin - 1);
  EXPECT_FALSE(TestFirst().contains("shift.acquisition_manufacturer.p"));
  tell(0, kSketchRecordsMin);
  const ShiftScalars told = TestFirst();
  ExpectSound(told);
  EXPECT_TRUE(told.contains("shift.acquisition_manufacturer.p"));
  EXPECT_TRUE(told.contains("shift.acquisition_model.p"));
  for (size_t site = 1; site < records_.size(); ++site) {
    records_[site].devices.clear();
  }
  const ShiftScalars alone = TestFirst();
  EXPECT_FALSE(alone.contains("shift.acquisition_manufacturer.p"));
  EXPECT_TRUE(alone.contains("shift.acquisition_noise.p"));
}

// A dial that is moved is seen by the test that it is for, and not by the ones
// that must be blind to it. 60 runs: a blind test at 5 % rejects above 0.2 with
// probability below 1e-4.
TEST(DialTest, CovariateShiftIsSeenAndIsNotTakenForLabelOrConcept) {
  SimulationOptions options;
  const SiteDials dials{.covariate = 0.8};
  EXPECT_GT(Rejects(options, "covariate_mmd", dials, 60), 0.9);
  EXPECT_GT(Rejects(options, "covariate_adjusted", dials, 60), 0.9);
  EXPECT_GT(Rejects(options, "acquisition_brightness", dials, 60), 0.9);
  EXPECT_LT(Rejects(options, "label_score", dials, 60), 0.2);
  EXPECT_LT(Rejects(options, "concept_score", dials, 60), 0.2);
}

TEST(DialTest, AnotherScannerIsSeenByTheTestsOfScannersAlone) {
  SimulationOptions options;
  const SiteDials dials{.own_scanner = 0.3};
  EXPECT_GT(Rejects(options, "acquisition_manufacturer", dials, 60), 0.9);
  EXPECT_GT(Rejects(options, "acquisition_model", dials, 60), 0.9);
  EXPECT_LT(Rejects(options, "acquisition_noise", dials, 60), 0.2);
  EXPECT_LT(Rejects(options, "covariate_mmd", dials, 60), 0.2);
}

TEST(DialTest, LabelShiftIsSeenAndIsNotTakenForCovariateOrConcept) {
  SimulationOptions options;
  const SiteDials dials{.label = 1.2};
  EXPECT_GT(Rejects(options, "label_score", dials, 60), 0.9);
  EXPECT_GT(Rejects(options, "label_em", dials, 60), 0.9);
  EXPECT_LT(Rejects(options, "covariate_adjusted", dials, 60), 0.2);
  EXPECT_LT(Rejects(options, "concept_score", dials, 60), 0.2);
}

TEST(DialTest, ConceptShiftIsSeenAndIsNotTakenForCovariate) {
  SimulationOptions options;
  const SiteDials dials{.concept_change = 0.7};
  EXPECT_GT(Rejects(options, "concept_score", dials, 60), 0.9);
  EXPECT_LT(Rejects(options, "covariate_mmd", dials, 60), 0.2);
}

TEST(PriorTest, IntervalHoldsTheSharesAndMovesWithThem) {
  SimulationOptions options;
  options.records = 500;
  const std::vector<SimulatedRecords> records =
      Draw(options, 5, {.label = 1.5});
  const ShiftScalars scalars = SketchAndTest(options, records, 5, 1).value()[0];
  for (int c = 0; c < 3; ++c) {
    const double share =
        std::count(records[0].labels.begin(), records[0].labels.end(), c) /
        500.0;
    const std::string name = PriorScalar(c);
    EXPECT_NEAR(scalars.at(name), share, 0.06) << c;
    EXPECT_LT(scalars.at(name + ".low"), share) << c;
    EXPECT_GT(scalars.at(name + ".high"), share) << c;
  }
  EXPECT_GT(scalars.at("shift.prior.2"), scalars.at("shift.reference.2") + 0.1);
  EXPECT_NEAR(scalars.at("shift.prior_check.2"), scalars.at("shift.prior.2"),
              0.1);
}

TEST(TestSiteTest, LeavesNothingButNamedScalars) {
  const ShiftScalars scalars = First({}, 1);
  for (const auto& [name, value] : scalars) {
    EXPECT_TRUE(name.starts_with("shift.")) << name;
  }
  EXPECT_LE(scalars.size(), 17u * 4 + 5 * 3 + 2);
  EXPECT_EQ(scalars.at("shift.new_records"), 200);
}

// Scores of two models: the class's logit plus noise, which is the same for
// both up to `own`.
struct Pair {
  std::vector<int64_t> labels, patients;
  std::vector<double> federated, local;
  TransferRecords View() const {
    const auto n = static_cast<int64_t>(labels.size());
    return {labels, {federated, n, 2}, {local, n, 2}, patients};
  }
};

Pair DrawPair(int n, double federated, double local, uint64_t seed,
              int per_patient = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Pair pair;
  for (int i = 0; i < n; ++i) {
    const int64_t y = i % 3 == 0;
    const double shared = normal(random);
    const auto add = [&](double strength, std::vector<double>& scores) {
      const double score =
          strength * (y - 0.5) + 0.7 * shared + 0.7 * normal(random);
      scores.push_back(1 / (1 + std::exp(score)));
      scores.push_back(1 / (1 + std::exp(-score)));
    };
    pair.labels.push_back(y);
    pair.patients.push_back(i / per_patient);
    add(federated, pair.federated);
    add(local, pair.local);
  }
  return pair;
}

TEST(NegativeTransferTest, OppositeReadingHarmsAndABetterModelHelps) {
  for (TransferMeasure measure :
       {TransferMeasure::kAuc, TransferMeasure::kBalancedAccuracy}) {
    const auto harm =
        CompareTransfer(DrawPair(200, -1, 1.5, 1).View(), measure, 1);
    ASSERT_TRUE(harm.ok()) << harm.status();
    EXPECT_EQ(harm->verdict, TransferVerdict::kHarms);
    EXPECT_LT(harm->p, 1e-3);
    const auto help =
        CompareTransfer(DrawPair(200, 3, 0.5, 2).View(), measure, 1);
    EXPECT_EQ(help->verdict, TransferVerdict::kHelps);
  }
}

TEST(NegativeTransferTest, ExchangeableModelsAreRarelyCalledHarmful) {
  // 300 runs at 2.5 %: above 5.5 % with probability below 2e-3.
  int harms = 0;
  for (int run = 0; run < 300; ++run) {
    harms += CompareTransfer(DrawPair(150, 1, 1, run).View(),
                             TransferMeasure::kAuc, 1)
                         ->verdict == TransferVerdict::kHarms
                 ? 1
                 : 0;
  }
  EXPECT_LE(harms, 16);
}

TEST(NegativeTransferTest, PatientsOfSeveralRecordsWidenTheInterval) {
  const Pair single = DrawPair(200, 1, 1.2, 4);
  // Every record four times, as one patient's.
  Pair repeated;
  for (int i = 0; i < 200; ++i) {
    for (int copy = 0; copy < 4; ++copy) {
      repeated.labels.push_back(single.labels[i]);
      repeated.patients.push_back(i);
      for (int c = 0; c < 2; ++c) {
        repeated.federated.push_back(single.federated[2 * i + c]);
        repeated.local.push_back(single.local[2 * i + c]);
      }
    }
  }
  const auto a =
      CompareTransfer(single.View(), TransferMeasure::kBalancedAccuracy, 1);
  const auto b =
      CompareTransfer(repeated.View(), TransferMeasure::kBalancedAccuracy, 1);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NEAR(b->high - b->low, a->high - a->low, 0.02);
}

TEST(NegativeTransferTest, RefusesTooFewRecordsOfAClass) {
  Pair pair = DrawPair(60, 1, 1, 1);
  std::fill(pair.labels.begin(), pair.labels.end(), 0);
  pair.labels[0] = 1;
  EXPECT_TRUE(absl::IsFailedPrecondition(
      CompareTransfer(pair.View(), TransferMeasure::kAuc, 1).status()));
}

TEST(PerformanceEstimateTest, MatchesTheTruthOfCalibratedScores) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  const int n = 20000;
  std::vector<double> posteriors, margins;
  std::vector<int64_t> labels;
  double right = 0;
  for (int i = 0; i < n; ++i) {
    const double p = 1 / (1 + std::exp(-1.5 * normal(random) + 0.5));
    posteriors.push_back(1 - p);
    posteriors.push_back(p);
    labels.push_back(uniform(random) < p);
    margins.push_back(p);
    right += (p > 0.5) == (labels.back() == 1) ? 1 : 0;
  }
  const auto estimate = EstimatePerformance({posteriors, n, 2});
  ASSERT_TRUE(estimate.ok());
  // Mann-Whitney by brute force over a part of the pairs.
  double ordered = 0, pairs = 0;
  for (int i = 0; i < 4000; ++i) {
    for (int j = 4000; j < 8000; ++j) {
      if (labels[i] == labels[j]) continue;
      ++pairs;
      ordered += (margins[i] > margins[j]) == (labels[i] > labels[j]) ? 1 : 0;
    }
  }
  EXPECT_NEAR(estimate->accuracy, right / n, 4 * estimate->accuracy_deviation);
  EXPECT_NEAR(estimate->auc, ordered / pairs, 0.015);
}

}  // namespace
}  // namespace fedgraft
