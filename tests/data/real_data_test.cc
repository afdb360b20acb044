// Real data sets, where the machine has them (FEDGRAFT_DATA).

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/data/data_source_factory.h"
#include "client/data/preprocess.h"
#include "client/data/splits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::DefaultConfig;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::RealDataFolder;

class RealDataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = RealDataFolder();
    if (folder_.empty()) GTEST_SKIP() << "no FEDGRAFT_DATA";
  }

  std::map<int, int> CountLabels(const DataSource& source, Split split) {
    std::map<int, int> counts;
    for (const Sample& sample : source.Samples(split)) ++counts[sample.label];
    return counts;
  }

  std::string folder_;
};

// Counts from the data sets' own descriptions.
TEST_F(RealDataTest, MedMnist) {
  pb::DataConfig config = DefaultConfig("npz");
  config.set_path(folder_ + "/medmnist/breastmnist.npz");
  const auto breast =
      OpenDataSource(config, {{"malignant", "benign"}, DataUse::kTrain});
  ASSERT_THAT(breast, IsOk());
  using Counts = std::map<int, int>;
  EXPECT_EQ(CountLabels(**breast, Split::kTrain), (Counts{{0, 147}, {1, 399}}));
  EXPECT_EQ((*breast)->Samples(Split::kVal).size(), 78u);
  EXPECT_EQ((*breast)->Samples(Split::kTest).size(), 156u);
  EXPECT_TRUE((*breast)->Warnings().empty());

  config.set_path(folder_ + "/medmnist/pneumoniamnist.npz");
  const auto chest =
      OpenDataSource(config, {{"normal", "pneumonia"}, DataUse::kTrain});
  ASSERT_THAT(chest, IsOk());
  EXPECT_EQ(CountLabels(**chest, Split::kTrain),
            (Counts{{0, 1214}, {1, 3494}}));
  EXPECT_EQ((*chest)->Samples(Split::kTest).size(), 624u);
  const auto image = (*chest)->Load(Split::kTest, 623);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->height, 28);
  EXPECT_EQ(image->channels, 1);
}

TEST_F(RealDataTest, ThreeClassesAndPatientsWithoutATestSplit) {
  pb::DataConfig config = DefaultConfig("npz");
  config.set_path(folder_ + "/cxr_source_guangzhou/cxr_guangzhou_64.npz");
  const auto source = OpenDataSource(
      config, {{"normal", "bacterial", "viral"}, DataUse::kTrain});
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ(CountLabels(**source, Split::kVal),
            (std::map<int, int>{{0, 103}, {1, 186}, {2, 113}}));
  std::set<std::string> patients;
  for (const Sample& s : (*source)->Samples(Split::kTrain)) {
    patients.insert(s.patient);
  }
  EXPECT_EQ(patients.size(), 2071u);
  EXPECT_THAT(
      (*source)->Warnings(),
      ::testing::ElementsAre(::testing::HasSubstr("the test split is empty")));
}

TEST_F(RealDataTest, ChestRadiographsOfEveryHospital) {
  const std::map<std::string, size_t> sites = {
      {"hannover_de", 243}, {"spain", 44}, {"united_kingdom", 34},
      {"australia", 31},    {"italy", 22}, {"other", 84}};
  PreprocessingSpec spec;
  spec.size = 64;
  spec.aspect = AspectPolicy::kPad;
  const auto preprocessor = Preprocessor::Create(spec);
  ASSERT_THAT(preprocessor, IsOk());
  std::vector<float> input(preprocessor->output_size());
  for (const auto& [site, images] : sites) {
    pb::DataConfig config = DefaultConfig("folder");
    config.set_path(folder_ + "/cxr_multisite/labels.csv");
    config.set_label_column("projection");
    config.set_patient_column("patient_id");
    config.set_filter_column("site");
    config.set_filter_value(site);
    const auto source = OpenDataSource(config, {{"AP", "PA"}, DataUse::kTrain});
    ASSERT_THAT(source, IsOk()) << site;
    size_t count = 0;
    std::map<std::string, std::set<Split>> splits_of;
    for (const Split split : kAllSplits) {
      const auto& samples = (*source)->Samples(split);
      EXPECT_FALSE(samples.empty()) << site;
      count += samples.size();
      for (size_t i = 0; i < samples.size(); ++i) {
        splits_of[samples[i].patient].insert(split);
        const auto image = (*source)->Load(split, i);
        ASSERT_THAT(image, IsOk()) << samples[i].name;
        EXPECT_EQ(std::max(image->width, image->height), 256);
        EXPECT_THAT(preprocessor->Apply(*image, absl::MakeSpan(input)), IsOk());
      }
    }
    EXPECT_EQ(count, images) << site;
    for (const auto& [patient, splits] : splits_of) {
      EXPECT_EQ(splits.size(), 1u);
    }
  }
}

}  // namespace
}  // namespace fedgraft
