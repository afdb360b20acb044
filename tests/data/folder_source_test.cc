#include "client/data/folder_source.h"

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

namespace fs = std::filesystem;

using ::fedgraft::testing::Encode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PngOfSize;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteFile;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FolderSourceTest : public ::testing::Test {
 protected:
  FolderSourceTest() {
    options_.path = folder_.File("labels.csv");
    options_.fractions = {0.2, 0.3, 0};
  }

  void AddImages(int count) {
    for (int i = 0; i < count; ++i) {
      WriteFile(folder_.File("images/" + std::to_string(i) + ".png"),
                Encode(".png", 4, 3, 1, 8, i + 1));
    }
  }
  absl::StatusOr<std::unique_ptr<DataSource>> Open(
      const std::string& manifest, DataContext context = TwoClasses()) {
    WriteFile(options_.path, manifest);
    return OpenFolderSource(options_, context);
  }

  TempFolder folder_;
  FolderOptions options_;
};

TEST_F(FolderSourceTest, ReadsTheSplitColumn) {
  AddImages(4);
  options_.columns.split = "split";
  const auto source = Open(
      "path,label,split\nimages/0.png,0,train\nimages/1.png,malignant,train\n"
      "images/2.png,1,val\n./images/3.png,0,test\n");
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTrain).size(), 2u);
  ASSERT_EQ((*source)->Samples(Split::kVal).size(), 1u);
  ASSERT_EQ((*source)->Samples(Split::kTest).size(), 1u);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[1].label, 1);
  const auto image = (*source)->Load(Split::kTrain, 1);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->height, 3);
  EXPECT_EQ(image->width, 4);
  EXPECT_FLOAT_EQ(image->pixels[11], 22 / 255.0f);  // image 1 has step 2
}

TEST_F(FolderSourceTest, SplitsByPatientWithoutASplitColumn) {
  AddImages(60);
  options_.columns.patient = "patient";
  std::string manifest = "path,label,patient\n";
  for (int i = 0; i < 60; ++i) {
    manifest += "images/" + std::to_string(i) + ".png," +
                std::to_string(i / 3 % 2) + ",p" + std::to_string(i / 3) + "\n";
  }
  const auto source = Open(manifest);
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 30u);
  EXPECT_EQ((*source)->Samples(Split::kVal).size(), 12u);
  EXPECT_EQ((*source)->Samples(Split::kTest).size(), 18u);
  std::map<std::string, std::set<int>> splits_of;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    for (const Sample& sample : (*source)->Samples(split)) {
      splits_of[sample.patient].insert(static_cast<int>(split));
    }
  }
  EXPECT_EQ(splits_of.size(), 20u);
  for (const auto& [patient, splits] : splits_of) EXPECT_EQ(splits.size(), 1u);
  EXPECT_TRUE((*source)->Warnings().empty());
}

TEST_F(FolderSourceTest, RootMayBeElsewhere) {
  AddImages(2);
  options_.root = folder_.File("images");
  options_.fractions = {};
  EXPECT_THAT(Open("path,label\n0.png,0\n1.png,1\n"), IsOk());
  options_.root = folder_.File("nowhere");
  EXPECT_THAT(
      Open("path,label\n0.png,0\n"),
      IsError(absl::StatusCode::kNotFound, "data.root: expected a folder"));
}

TEST_F(FolderSourceTest, RefusesPathsThatLeaveTheRoot) {
  AddImages(1);
  WriteFile(folder_.File("secret.png"), Encode(".png", 2, 2, 1, 8, 1));
  options_.root = folder_.File("images");
  fs::create_symlink("../secret.png", folder_.File("images/link.png"));
  fs::create_directory_symlink("..", folder_.File("images/up"));
  fs::create_directory(folder_.File("images2"));
  WriteFile(folder_.File("images2/x.png"), Encode(".png", 2, 2, 1, 8, 1));
  for (const std::string path :
       {"../secret.png", "a/../../secret.png", "/etc/passwd", "..", "link.png",
        "up/secret.png", "../images2/x.png", ".", ""}) {
    const auto source = Open("path,label\n0.png,0\n\"" + path + "\",1\n");
    EXPECT_THAT(source, IsError(absl::StatusCode::kInvalidArgument,
                                "labels.csv: line 3, column \"path\": "
                                "expected"))
        << path;
  }
}

TEST_F(FolderSourceTest, LinksInsideTheRootAreFollowed) {
  AddImages(1);
  fs::create_symlink("0.png", folder_.File("images/again.png"));
  options_.fractions = {};
  EXPECT_THAT(Open("path,label\nimages/again.png,0\n"), IsOk());
}

TEST_F(FolderSourceTest, ErrorsNameManifestLineAndColumn) {
  AddImages(2);
  EXPECT_THAT(Open("path,label\nimages/0.png,0\nimages/7.png,1\n"),
              IsError(absl::StatusCode::kNotFound,
                      "labels.csv: line 3, column \"path\": expected a file "
                      "below "));
  EXPECT_THAT(Open("path,label\nimages,0\n"),
              IsError(absl::StatusCode::kInvalidArgument, "a regular file"));
  EXPECT_THAT(Open("path,label\nimages/0.png,7\n"),
              IsError(absl::StatusCode::kInvalidArgument,
                      "labels.csv: line 2, column \"label\": expected"));
  EXPECT_THAT(Open("path,label\n"),
              IsError(absl::StatusCode::kFailedPrecondition,
                      "the train split is empty"));
  options_.columns.split = "split";
  EXPECT_THAT(Open("path,label,split\nimages/0.png,0,test\n"),
              IsError(absl::StatusCode::kFailedPrecondition,
                      "the train split is empty (val: 0, test: 1 images)"));
  options_.path = folder_.File("absent.csv");
  EXPECT_THAT(OpenFolderSource(options_, TwoClasses()),
              IsError(absl::StatusCode::kNotFound, "absent.csv: no such file"));
  options_.path = folder_.path();
  EXPECT_THAT(OpenFolderSource(options_, TwoClasses()),
              IsError(absl::StatusCode::kInvalidArgument, "a regular file"));
}

TEST_F(FolderSourceTest, OneClassSiteIsReportedButOpens) {
  AddImages(2);
  options_.fractions = {};
  const auto source = Open("path,label\nimages/0.png,1\nimages/1.png,1\n");
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Warnings(),
              ElementsAre(HasSubstr("of class \"malignant\": this site can "
                                    "take part, but cannot train alone"),
                          HasSubstr("val split is empty"),
                          HasSubstr("test split is empty")));
}

TEST_F(FolderSourceTest, BrokenImagesAreNamedWhenLoaded) {
  options_.fractions = {};
  WriteFile(folder_.File("text.png"), "not an image");
  WriteFile(folder_.File("huge.png"), PngOfSize(40'000, 25'000));
  WriteFile(folder_.File("none.png"), PngOfSize(0, 0));
  const auto source = Open("path,label\ntext.png,0\nhuge.png,1\nnone.png,1\n");
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT((*source)->Load(Split::kTrain, 0),
              IsError(absl::StatusCode::kInvalidArgument,
                      "text.png: expected a PNG, JPEG or TIFF file"));
  EXPECT_THAT((*source)->Load(Split::kTrain, 1),
              IsError(absl::StatusCode::kResourceExhausted,
                      "huge.png: expected at most 100000000 pixels "
                      "(image_megapixels_max), found 40000 x 25000"));
  EXPECT_THAT((*source)->Load(Split::kTrain, 2),
              IsError(absl::StatusCode::kInvalidArgument,
                      "none.png: expected at least one pixel, found 0 x 0"));
  fs::remove(folder_.File("text.png"));
  EXPECT_THAT((*source)->Load(Split::kTrain, 0),
              IsError(absl::StatusCode::kNotFound, "text.png: no such file"));
}

TEST_F(FolderSourceTest, RefusesFractionsThatLeaveNothing) {
  options_.fractions = {0.5, 0.5, 0};
  EXPECT_THAT(Open("path,label\n"),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected val_fraction + test_fraction below 1"));
}

TEST_F(FolderSourceTest, PredictionTakesEveryRowOrAWholeFolder) {
  AddImages(3);
  auto source =
      Open("path\nimages/1.png\nimages/0.png\n", TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTest).size(), 2u);
  EXPECT_EQ((*source)->Samples(Split::kTest)[0].name, "images/1.png");

  WriteFile(folder_.File("images/sub/X.JPG"), Encode(".jpg", 8, 8, 1, 8, 1));
  options_.path = folder_.path();
  source = OpenFolderSource(options_, TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  std::vector<std::string> names;
  for (const Sample& sample : (*source)->Samples(Split::kTest)) {
    names.push_back(sample.name);
    EXPECT_EQ(sample.label, -1);
  }
  EXPECT_THAT(names, ElementsAre("images/0.png", "images/1.png", "images/2.png",
                                 "images/sub/X.JPG"));
  EXPECT_THAT((*source)->Load(Split::kTest, 3), IsOk());

  fs::remove_all(folder_.File("images"));
  EXPECT_THAT(
      OpenFolderSource(options_, TwoClasses(DataUse::kPredict)),
      IsError(absl::StatusCode::kFailedPrecondition, "no image to predict"));
}

TEST_F(FolderSourceTest, UnlabelledTakesTheTrainingSplitOrAWholeFolder) {
  AddImages(3);
  const DataContext unlabelled = {};
  // Without splits: everything. The label column is not read.
  auto source =
      Open("path,label\nimages/0.png,?\nimages/1.png,1\n", unlabelled);
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTrain).size(), 2u);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[1].label, -1);
  // What is for testing stays unseen.
  options_.columns.split = "split";
  source =
      Open("path,split\nimages/0.png,test\nimages/1.png,train\n", unlabelled);
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTrain).size(), 1u);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[0].name, "images/1.png");

  options_.path = folder_.path();
  source = OpenFolderSource(options_, unlabelled);
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 3u);
}

}  // namespace
}  // namespace fedgraft
