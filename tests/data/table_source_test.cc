#include "client/data/table_source.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

class TableSourceTest : public ::testing::Test {
 protected:
  TableSourceTest() {
    options_.columns = {"", "label", "", "split", "", ""};
    options_.schema.numeric = {"age", "bmi"};
    options_.schema.categorical = {{"sex", {"F", "M"}, false}};
  }
  absl::StatusOr<std::unique_ptr<DataSource>> Open(
      const std::string& text, DataContext context = TwoClasses()) {
    options_.path = folder_.File("t.csv");
    WriteFile(options_.path, text);
    return OpenTableSource(options_, context);
  }
  std::vector<float> Row(const DataSource& source, Split split, size_t index) {
    return source.Load(split, index)->pixels;
  }

  TempFolder folder_;
  TableOptions options_;
};

TEST_F(TableSourceTest, TakesTheFeaturesInTheOrderOfTheSchema) {
  // The table has another order, and a column that is nobody's business.
  const auto source = Open(
      "name,sex,bmi,split,age,label\n"
      "x,M,21.5,train,40,benign\n"
      "y,F,30,train,-5e1,1\n"
      "z,F,1,val,2,malignant\n");
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->feature_dim(), 4);
  EXPECT_THAT(Row(**source, Split::kTrain, 0), ElementsAre(40, 21.5, 0, 1));
  EXPECT_THAT(Row(**source, Split::kTrain, 1), ElementsAre(-50, 30, 1, 0));
  EXPECT_THAT(Row(**source, Split::kVal, 0), ElementsAre(2, 1, 1, 0));
  EXPECT_EQ((*source)->Samples(Split::kTrain)[1].label, 1);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[1].name, "line 3");
}

TEST_F(TableSourceTest, FillsInTheMeanOfTheTrainingSplitOnly) {
  options_.schema.missing = MissingPolicy::kMean;
  const auto source = Open(
      "age,bmi,sex,label,split\n"
      "10,,F,0,train\n"
      "20,4,F,1,train\n"
      ",6,M,0,train\n"
      "30,8,,1,train\n"
      "1000,1000,M,0,val\n"
      ",NA,NaN,1,test\n");
  ASSERT_THAT(source, IsOk());
  // Means: age (10 + 20 + 30) / 3; bmi (4 + 6 + 8) / 3; sex F in 2 of 3.
  const std::vector<float> means = {20, 6, 2.0f / 3, 1.0f / 3};
  EXPECT_EQ(Row(**source, Split::kTrain, 0)[1], 6);
  EXPECT_EQ(Row(**source, Split::kTrain, 2)[0], 20);
  EXPECT_THAT(Row(**source, Split::kTest, 0), ElementsAreArray(means));
}

TEST_F(TableSourceTest, AValueOfAnotherSplitDoesNotMoveWhatIsFilledIn) {
  options_.schema.missing = MissingPolicy::kMean;
  const auto text = [](const std::string& test_age) {
    return "age,bmi,sex,label,split\n10,1,F,0,train\n30,1,M,1,train\n"
           ",1,F,0,train\n" +
           test_age + ",1,F,1,test\n" + test_age + ",1,F,1,val\n";
  };
  const auto small = Open(text("0"));
  ASSERT_THAT(small, IsOk());
  const float filled = Row(**small, Split::kTrain, 2)[0];
  EXPECT_EQ(filled, 20);
  const auto large = Open(text("1e6"));
  ASSERT_THAT(large, IsOk());
  EXPECT_EQ(Row(**large, Split::kTrain, 2)[0], filled);
}

TEST_F(TableSourceTest, ZeroAndIndicatorFillInZero) {
  const std::string text =
      "age,bmi,sex,label,split\n10,2,F,0,train\n,3,,1,train\n";
  options_.schema.missing = MissingPolicy::kZero;
  const auto zero = Open(text);
  ASSERT_THAT(zero, IsOk());
  EXPECT_THAT(Row(**zero, Split::kTrain, 1), ElementsAre(0, 3, 0, 0));
  options_.schema.missing = MissingPolicy::kIndicator;
  const auto indicator = Open(text);
  ASSERT_THAT(indicator, IsOk());
  EXPECT_EQ((*indicator)->feature_dim(), 7);
  EXPECT_EQ(options_.schema.FeatureCount(), 7);
  EXPECT_THAT(Row(**indicator, Split::kTrain, 0),
              ElementsAre(10, 0, 2, 0, 1, 0, 0));
  EXPECT_THAT(Row(**indicator, Split::kTrain, 1),
              ElementsAre(0, 1, 3, 0, 0, 0, 1));
}

TEST_F(TableSourceTest, OtherTextsHaveAFeatureIfTheSchemaSaysSo) {
  options_.schema.categorical[0].other = true;
  const auto source =
      Open("age,bmi,sex,label,split\n1,2,F,0,train\n3,4,unknown,1,train\n");
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->feature_dim(), 5);
  EXPECT_THAT(Row(**source, Split::kTrain, 0), ElementsAre(1, 2, 1, 0, 0));
  EXPECT_THAT(Row(**source, Split::kTrain, 1), ElementsAre(3, 4, 0, 0, 1));
}

TEST_F(TableSourceTest, ErrorsNameLineColumnAndWhatIsAllowed) {
  const std::string header = "age,bmi,sex,label,split\n1,2,F,0,train\n";
  struct Case {
    std::string row, message;
  };
  for (const Case& test : std::vector<Case>{
           {"3,4,X,1,train",
            "t.csv: line 3, column \"sex\": expected one of F, M (or `other: "
            "true` in the schema), found \"X\""},
           {"old,4,F,1,train",
            "line 3, column \"age\": expected a finite number, found \"old\""},
           {"inf,4,F,1,train", "expected a finite number, found \"inf\""},
           {"3,1e39,F,1,train", "column \"bmi\": expected a finite number"},
           {"3,,F,1,train",
            "line 3, column \"bmi\": expected a value (data.table.missing is "
            "error; mean, zero and indicator fill in), found \"\""},
           {"3,4,,1,train", "line 3, column \"sex\": expected a value"},
           {"3,4,F,2,train", "column \"label\": expected a class"},
           {"3,4,F,1,later",
            "column \"split\": expected train, val or test"}}) {
    SCOPED_TRACE(test.row);
    EXPECT_THAT(Open(header + test.row + "\n"),
                IsError(absl::StatusCode::kInvalidArgument, test.message));
  }
  EXPECT_THAT(Open("age,sex,label,split\n1,F,0,train\n"),
              IsError(absl::StatusCode::kInvalidArgument,
                      "header: expected a column \"bmi\""));
  options_.schema = {};
  EXPECT_THAT(Open(header), IsError(absl::StatusCode::kInvalidArgument,
                                    "expected columns that make 1 to 65536"));
}

TEST_F(TableSourceTest, AMeanOfNothingIsAnError) {
  options_.schema.missing = MissingPolicy::kMean;
  EXPECT_THAT(Open("age,bmi,sex,label,split\n,2,F,0,train\n,3,M,1,train\n"),
              IsError(absl::StatusCode::kFailedPrecondition,
                      "line 2, column \"age\": a cell is missing and no "
                      "training row has a value"));
}

TEST_F(TableSourceTest, PredictionTakesTheMeanOfRowsMarkedAsTraining) {
  options_.schema.missing = MissingPolicy::kMean;
  const DataContext predict = TwoClasses(DataUse::kPredict);
  const auto source = Open(
      "age,bmi,sex,split\n10,1,F,train\n30,1,M,train\n500,1,F,val\n,1,F,test\n",
      predict);
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTest).size(), 4u);
  EXPECT_EQ(Row(**source, Split::kTest, 3)[0], 20);
  EXPECT_EQ((*source)->Samples(Split::kTest)[3].label, -1);
  EXPECT_THAT(
      Open("age,bmi,sex\n,1,F\n2,1,M\n", predict),
      IsError(absl::StatusCode::kFailedPrecondition, "no training row"));
  EXPECT_THAT(Open("age,bmi,sex\n1,1,F\n2,1,M\n", predict), IsOk());
}

TEST_F(TableSourceTest, SplitsByPatientAndFiltersRows) {
  options_.columns = {"", "label", "who", "", "site", "a"};
  options_.fractions = {0.25, 0.25, 3};
  std::string text = "age,bmi,sex,label,who,site\n";
  for (int i = 0; i < 80; ++i) {
    text += std::to_string(i) + ",1,F," + std::to_string(i % 2) + ",p" +
            std::to_string(i / 4) + (i % 8 < 4 ? ",a\n" : ",b\n");
  }
  const auto source = Open(text);
  ASSERT_THAT(source, IsOk());
  size_t count = 0;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    const auto& samples = (*source)->Samples(split);
    EXPECT_FALSE(samples.empty());
    count += samples.size();
    for (size_t i = 0; i < samples.size(); ++i) {
      const int age = static_cast<int>(Row(**source, split, i)[0]);
      EXPECT_LT(age % 8, 4);
      EXPECT_EQ(samples[i].patient, "p" + std::to_string(age / 4));
    }
  }
  EXPECT_EQ(count, 40u);
}

}  // namespace
}  // namespace fedgraft
