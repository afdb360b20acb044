#include "client/data/embeddings_source.h"

#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/data/feature_source.h"
#include "client/data/splits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::Npy;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteNpz;
using ::testing::ElementsAre;

using Members = std::map<std::string, Bytes>;

// `count` vectors of length 2: vector i is (i, -i), its label i % 2.
void AddSplit(Members& members, const std::string& split, int count) {
  std::vector<float> values;
  std::vector<int64_t> labels;
  for (int i = 0; i < count; ++i) {
    values.insert(values.end(),
                  {static_cast<float>(i), static_cast<float>(-i)});
    labels.push_back(i % 2);
  }
  const std::string n = std::to_string(count);
  members[split + "_features.npy"] = Npy("<f4", "(" + n + ", 2)", Raw(values));
  members[split + "_labels.npy"] = Npy("<i8", "(" + n + ",)", Raw(labels));
}

class EmbeddingsSourceTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<DataSource>> Open(
      const Members& members, DataContext context = TwoClasses()) {
    options_.path = folder_.File("data.npz");
    WriteNpz(options_.path, members);
    return OpenEmbeddingsSource(options_, context);
  }

  TempFolder folder_;
  EmbeddingsOptions options_;
};

TEST_F(EmbeddingsSourceTest, ReadsTheSplitsThatAreThere) {
  Members members;
  AddSplit(members, "train", 6);
  AddSplit(members, "test", 4);
  const auto source = Open(members);
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->feature_dim(), 2);
  EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 6u);
  EXPECT_TRUE((*source)->Samples(Split::kVal).empty());
  EXPECT_EQ((*source)->Samples(Split::kTest)[3].name, "test_features[3]");
  EXPECT_EQ((*source)->Samples(Split::kTest)[3].label, 1);
  const auto image = (*source)->Load(Split::kTest, 3);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->width, 2);
  EXPECT_THAT(image->pixels, ElementsAre(3.0f, -3.0f));
}

TEST_F(EmbeddingsSourceTest, WidensHalvesAndNarrowsDoubles) {
  Members members;
  // 1.5 and -2^-24, the smallest half.
  members["train_features.npy"] =
      Npy("<f2", "(1, 2)", Raw<uint16_t>({0x3e00, 0x8001}));
  members["train_labels.npy"] = Npy("|u1", "(1,)", Bytes{1});
  members["test_features.npy"] = Npy("<f8", "(1, 2)", Raw<double>({0.1, 1e-3}));
  members["test_labels.npy"] = Npy("|u1", "(1,)", Bytes{0});
  const auto source = Open(members);
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load(Split::kTrain, 0)->pixels,
              ElementsAre(1.5f, -0x1p-24f));
  EXPECT_THAT((*source)->Load(Split::kTest, 0)->pixels,
              ElementsAre(0.1f, 1e-3f));
}

TEST_F(EmbeddingsSourceTest, SplitsByPatientIfOnlyTrainingRowsAreThere) {
  Members members;
  AddSplit(members, "train", 60);
  std::vector<int32_t> patients;
  for (int i = 0; i < 60; ++i) patients.push_back(i / 3);
  members["train_patient.npy"] = Npy("<i4", "(60,)", Raw(patients));
  options_.fractions = {0.2, 0.2, 7};
  const auto source = Open(members);
  ASSERT_THAT(source, IsOk());
  std::map<std::string, std::set<Split>> splits;
  std::set<float> seen;
  for (const Split split : kAllSplits) {
    const auto& samples = (*source)->Samples(split);
    EXPECT_GE(samples.size(), 6u);
    for (size_t i = 0; i < samples.size(); ++i) {
      splits[samples[i].patient].insert(split);
      const float value = (*source)->Load(split, i)->pixels[0];
      // The vector stays with its label and its patient.
      EXPECT_EQ(samples[i].label, static_cast<int>(value) % 2);
      EXPECT_EQ(samples[i].patient,
                std::to_string(static_cast<int>(value) / 3));
      seen.insert(value);
    }
  }
  EXPECT_EQ(seen.size(), 60u);
  EXPECT_EQ(splits.size(), 20u);
  for (const auto& [patient, of] : splits) EXPECT_EQ(of.size(), 1u) << patient;
}

TEST_F(EmbeddingsSourceTest, PredictsTestRowsWithoutLabels) {
  Members members;
  AddSplit(members, "test", 3);
  members.erase("test_labels.npy");
  const auto source = Open(members, TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTest)[2].label, -1);
  EXPECT_TRUE((*source)->Samples(Split::kTrain).empty());
}

TEST_F(EmbeddingsSourceTest, RefusesBrokenContent) {
  struct Case {
    std::string message, member;
    Bytes content;  // empty: the member is left out
    absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Case> cases = {
      {"expected an array train_features, found none", "train_features", {}},
      {"no member train_labels",
       "train_labels",
       {},
       absl::StatusCode::kNotFound},
      {"expected float16, float32 or float64 vectors of shape (N, D), D from 1 "
       "to 65536, found uint8 (2, 2)",
       "train_features", Npy("|u1", "(2, 2)", Bytes(4))},
      {"found float32 (4)", "train_features",
       Npy("<f4", "(4,)", Raw<float>({1, 2, 3, 4}))},
      {"D from 1 to 65536, found float32 (2, 0)", "train_features",
       Npy("<f4", "(2, 0)", {})},
      {"test_features: expected vectors of length 2 as in train_features, "
       "found "
       "float32 (1, 3)",
       "test_features", Npy("<f4", "(1, 3)", Raw<float>({1, 2, 3}))},
      {"train_labels[1]: expected a label 0 to 1, found 2", "train_labels",
       Npy("|u1", "(2,)", Bytes{0, 2})},
      {"train_labels: expected one value for each of 2", "train_labels",
       Npy("|u1", "(3,)", Bytes{0, 1, 0})},
      {"train_features[1], feature 0: expected a finite number, found nan",
       "train_features", Npy("<f4", "(2, 2)", Raw<float>({1, 2, nan, 4}))},
      // Too large for a float.
      {"expected a finite number, found inf", "train_features",
       Npy("<f8", "(2, 2)", Raw<double>({1, 2, 1e300, 4}))}};
  for (const Case& test : cases) {
    SCOPED_TRACE(test.message);
    Members members;
    AddSplit(members, "train", 2);
    AddSplit(members, "test", 2);
    members.erase(test.member + ".npy");
    if (!test.content.empty()) members[test.member + ".npy"] = test.content;
    EXPECT_THAT(Open(members), IsError(test.code, test.message));
  }
}

TEST_F(EmbeddingsSourceTest, SaysWhatThePlanExpectsAndWhatTheDataAre) {
  Members members;
  AddSplit(members, "train", 20);
  const auto source = Open(members);
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT(CheckFeatureDim(**source, 2), IsOk());
  EXPECT_THAT(CheckFeatureDim(**source, 768),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expects feature vectors of length 768 "
                      "(backbone.feature_dim), the data of this site are "
                      "feature vectors of length 2"));
  EXPECT_THAT(
      CheckFeatureDim(**source, 0),
      IsError(absl::StatusCode::kInvalidArgument, "the plan expects images"));
}

}  // namespace
}  // namespace fedgraft
