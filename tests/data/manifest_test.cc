#include "client/data/manifest.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::TwoClasses;

TEST(ManifestTest, ReadsLabelsByNameAndNumber) {
  const auto rows = ParseManifest(
      "label,path\nmalignant,a.png\n0,b.png\n1,c.png\nbenign,d.png\n", {},
      TwoClasses());
  ASSERT_THAT(rows, IsOk());
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0].label, 1);
  EXPECT_EQ((*rows)[1].label, 0);
  EXPECT_EQ((*rows)[2].label, 1);
  EXPECT_EQ((*rows)[3].label, 0);
  EXPECT_EQ((*rows)[3].image, "d.png");
  EXPECT_EQ((*rows)[3].line, 5u);
}

TEST(ManifestTest, NamesOfClassesComeBeforeNumbers) {
  const DataContext context = {{"1", "0"}, DataUse::kTrain};
  const auto rows = ParseManifest("path,label\na,1\nb,0\n", {}, context);
  ASSERT_THAT(rows, IsOk());
  EXPECT_EQ((*rows)[0].label, 0);
  EXPECT_EQ((*rows)[1].label, 1);
}

TEST(ManifestTest, FilterLeavesOtherRowsUnchecked) {
  ManifestColumns columns;
  columns.filter = "site";
  columns.filter_value = "north";
  const auto rows =
      ParseManifest("path,label,site\na,0,north\nb,nonsense,south\nc,1,north\n",
                    columns, TwoClasses());
  ASSERT_THAT(rows, IsOk());
  EXPECT_EQ(rows->size(), 2u);
  columns.filter_value = "east";
  EXPECT_THAT(
      ParseManifest("path,label,site\na,0,north\n", columns, TwoClasses()),
      IsError(absl::StatusCode::kFailedPrecondition,
              "expected rows with \"east\" in column \"site\", found none"));
}

TEST(ManifestTest, ErrorsNameLineColumnExpectedAndFound) {
  ManifestColumns columns;
  columns.patient = "patient";
  columns.split = "split";
  struct Case {
    std::string text, message;
  };
  const std::string head = "path,label,patient,split\n";
  const std::vector<Case> cases = {
      {"path,patient,split\n",
       "header: expected a column \"label\", found path, patient, split"},
      {"path,label,patient\n", "header: expected a column \"split\""},
      {head + "a,2,p,train\n",
       "line 2, column \"label\": expected a class (benign, malignant) or a "
       "number 0 to 1, found \"2\""},
      {head + "a,-1,p,train\n", "found \"-1\""},
      {head + "a,+1,p,train\n", "found \"+1\""},
      {head + "a, 1,p,train\n", "found \" 1\""},
      {head + "a,1.0,p,train\n", "found \"1.0\""},
      {head + "a,99999999999999999999,p,train\n", "found \"99999"},
      {head + "a,,p,train\n", "line 2, column \"label\": expected"},
      {head + "a,Benign,p,train\n", "found \"Benign\""},
      {head + "a,\x01\n,p,train\n", "line 2: expected 4 fields"},
      {head + ",1,p,train\n", "column \"path\": expected the path of an image"},
      {head + "a,1,,train\n", "column \"patient\": expected the key"},
      {head + "a,1,p,training\n",
       "column \"split\": expected train, val or test, found \"training\""},
      {head + "a,1,p,train\nb,1,q,val\na,0,r,val\n",
       "line 4, column \"path\": expected an image that is not named yet (see "
       "line 2), found \"a\""},
      {head + "a,1,p,train\nb,1,p,test\n",
       "line 3, column \"split\": expected train, as for the same patient in "
       "line 2, found \"test\""},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ParseManifest(c.text, columns, TwoClasses()),
                IsError(absl::StatusCode::kInvalidArgument, c.message))
        << c.text;
  }
}

TEST(ManifestTest, PatientKeysAreNotInMessages) {
  ManifestColumns columns;
  columns.patient = "patient";
  columns.split = "split";
  const auto rows = ParseManifest(
      "path,label,patient,split\na,1,Doe^John,train\nb,1,Doe^John,test\n",
      columns, TwoClasses());
  ASSERT_FALSE(rows.ok());
  EXPECT_EQ(std::string(rows.status().message()).find("Doe"),
            std::string::npos);
}

TEST(ManifestTest, PredictionNeedsNoLabels) {
  const DataContext context = TwoClasses(DataUse::kPredict);
  const auto without = ParseManifest("path\na\nb\n", {}, context);
  ASSERT_THAT(without, IsOk());
  EXPECT_EQ((*without)[0].label, -1);
  const auto some = ParseManifest("path,label\na,\nb,1\n", {}, context);
  ASSERT_THAT(some, IsOk());
  EXPECT_EQ((*some)[0].label, -1);
  EXPECT_EQ((*some)[1].label, 1);
}

}  // namespace
}  // namespace fedgraft
