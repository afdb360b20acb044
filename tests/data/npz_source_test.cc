#include "client/data/npz_source.h"

#include <limits>
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

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::Npy;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::ReadWholeFile;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteFile;
using ::fedgraft::testing::WriteNpz;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Members = std::map<std::string, Bytes>;

// A split of `count` images of 1 x 2 pixels: image i has the values i, 255-i
// and the label i % 2.
void AddSplit(Members& members, const std::string& split, int count) {
  Bytes images, labels;
  for (int i = 0; i < count; ++i) {
    images.push_back(static_cast<uint8_t>(i));
    images.push_back(static_cast<uint8_t>(255 - i));
    labels.push_back(static_cast<uint8_t>(i % 2));
  }
  const std::string n = std::to_string(count);
  members[split + "_images.npy"] = Npy("|u1", "(" + n + ", 1, 2)", images);
  members[split + "_labels.npy"] = Npy("|u1", "(" + n + ", 1)", labels);
}

Members Good() {
  Members members;
  AddSplit(members, "train", 12);
  AddSplit(members, "val", 6);
  AddSplit(members, "test", 4);
  return members;
}

class NpzSourceTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<DataSource>> Open(
      const Members& members, DataContext context = TwoClasses()) {
    options_.path = folder_.File("data.npz");
    WriteNpz(options_.path, members);
    return OpenNpzSource(options_, context);
  }

  TempFolder folder_;
  NpzOptions options_;
};

TEST_F(NpzSourceTest, ReadsTheLayoutOfMedMnist) {
  const auto source = Open(Good());
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 12u);
  EXPECT_EQ((*source)->Samples(Split::kVal).size(), 6u);
  EXPECT_EQ((*source)->Samples(Split::kTest).size(), 4u);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[3].label, 1);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[3].name, "train_images[3]");
  const auto image = (*source)->Load(Split::kTrain, 3);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->height, 1);
  EXPECT_EQ(image->width, 2);
  EXPECT_THAT(image->pixels, ElementsAre(3 / 255.0f, 252 / 255.0f));
  EXPECT_THAT((*source)->Warnings(), IsEmpty());
}

TEST_F(NpzSourceTest, ReadsColourWideAndFloatImages) {
  struct Case {
    std::string descr, shape;
    Bytes data;
    int channels;
    std::vector<float> second;
  };
  const std::vector<Case> cases = {
      {"|u1", "(2, 1, 1, 3)", {0, 0, 0, 51, 102, 255}, 3, {0.2f, 0.4f, 1}},
      {"|u1", "(2, 1, 1, 1)", {0, 51}, 1, {0.2f}},
      {"<u2", "(2, 1, 1)", Raw<uint16_t>({0, 13107}), 1, {0.2f}},
      {"<f4", "(2, 1, 1)", Raw<float>({0, 0.2f}), 1, {0.2f}},
  };
  for (const Case& c : cases) {
    Members members;
    members["train_images.npy"] = Npy(c.descr, c.shape, c.data);
    members["train_labels.npy"] = Npy("<i8", "(2,)", Raw<int64_t>({0, 1}));
    const auto source = Open(members);
    ASSERT_THAT(source, IsOk()) << c.descr << c.shape;
    const auto image = (*source)->Load(Split::kTrain, 1);
    ASSERT_THAT(image, IsOk());
    EXPECT_EQ(image->channels, c.channels);
    EXPECT_EQ(image->pixels, c.second) << c.descr << c.shape;
  }
}

TEST_F(NpzSourceTest, RefusesFloatsOutsideZeroToOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float value : {-0.1f, 1.5f, 255.0f, nan}) {
    Members members;
    members["train_images.npy"] =
        Npy("<f4", "(2, 1, 1)", Raw<float>({0, value}));
    members["train_labels.npy"] = Npy("|u1", "(2,)", Bytes{0, 1});
    const auto source = Open(members);
    ASSERT_THAT(source, IsOk());
    EXPECT_THAT((*source)->Load(Split::kTrain, 0), IsOk());
    EXPECT_THAT((*source)->Load(Split::kTrain, 1),
                IsError(absl::StatusCode::kInvalidArgument,
                        "train_images[1]: expected values from 0 to 1"));
  }
}

TEST_F(NpzSourceTest, ShardsAreDisjointAndComplete) {
  std::multiset<std::string> names;
  std::vector<std::string> first;
  for (int shard = 0; shard < 3; ++shard) {
    options_.shard_index = shard;
    options_.shard_count = 3;
    const auto source = Open(Good());
    ASSERT_THAT(source, IsOk());
    EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 4u);
    EXPECT_EQ((*source)->Samples(Split::kVal).size(), 2u);
    EXPECT_EQ((*source)->Samples(Split::kTest).size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      const Sample& sample = (*source)->Samples(Split::kTrain)[i];
      names.insert(sample.name);
      if (shard == 0) first.push_back(sample.name);
      // Pixels belong to the sample.
      const auto image = (*source)->Load(Split::kTrain, i);
      ASSERT_THAT(image, IsOk());
      const int number = static_cast<int>(image->pixels[0] * 255 + 0.5f);
      EXPECT_EQ(sample.name, "train_images[" + std::to_string(number) + "]");
      EXPECT_EQ(sample.label, number % 2);
    }
  }
  EXPECT_EQ(names.size(), 12u);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 12u);

  options_.shard_index = 0;
  options_.split_seed = 1;
  options_.shard_test = true;
  const auto other = Open(Good());
  ASSERT_THAT(other, IsOk());
  EXPECT_EQ((*other)->Samples(Split::kTest).size(), 2u);
  std::vector<std::string> reseeded;
  for (const Sample& s : (*other)->Samples(Split::kTrain)) {
    reseeded.push_back(s.name);
  }
  EXPECT_NE(reseeded, first);
}

TEST_F(NpzSourceTest, ShardsKeepPatientsTogether) {
  Members members = Good();
  members["train_patient.npy"] = Npy(
      "<i4", "(12,)", Raw<int32_t>({7, 7, 7, 8, 8, 8, 9, 9, 9, -1, -1, -1}));
  std::map<std::string, int> shard_of;
  for (int shard = 0; shard < 2; ++shard) {
    options_.shard_index = shard;
    options_.shard_count = 2;
    const auto source = Open(members);
    ASSERT_THAT(source, IsOk());
    EXPECT_EQ((*source)->Samples(Split::kTrain).size(), 6u);
    for (const Sample& sample : (*source)->Samples(Split::kTrain)) {
      const auto [entry, is_new] = shard_of.try_emplace(sample.patient, shard);
      EXPECT_EQ(entry->second, shard);
    }
  }
  EXPECT_EQ(shard_of.size(), 4u);
}

TEST_F(NpzSourceTest, WarnsOfWhatIsUnusual) {
  Members members;
  members["train_images.npy"] = Npy("|u1", "(2, 1, 1)", Bytes{0, 1});
  members["train_labels.npy"] = Npy("|u1", "(2,)", Bytes{1, 1});
  members["train_patient.npy"] = Npy("|u1", "(2,)", Bytes{5, 6});
  members["test_images.npy"] = Npy("|u1", "(1, 1, 1)", Bytes{0});
  members["test_labels.npy"] = Npy("|u1", "(1,)", Bytes{0});
  members["test_patient.npy"] = Npy("|u1", "(1,)", Bytes{6});
  const auto source = Open(members);
  ASSERT_THAT(source, IsOk());
  EXPECT_THAT(
      (*source)->Warnings(),
      ElementsAre(
          HasSubstr("all 2 training images are of class \"malignant\""),
          HasSubstr("the val split is empty"),
          HasSubstr("the test split has images of one class only"),
          HasSubstr("1 patients are both in the train and the test split")));
}

TEST_F(NpzSourceTest, RefusesBrokenContent) {
  struct Case {
    std::string message, member;
    Bytes content;  // empty: the member is left out
    absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  };
  const std::vector<Case> cases = {
      {"expected an array train_images, found none", "train_images", {}},
      {"no member train_labels",
       "train_labels",
       {},
       absl::StatusCode::kNotFound},
      {"train_labels[1]: expected a label 0 to 1, found 2", "train_labels",
       Npy("|u1", "(12,)", Bytes{0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})},
      {"val_labels[0]: expected a label 0 to 1, found -1", "val_labels",
       Npy("|i1", "(6,)", Bytes(6, 0xFF))},
      {"train_labels: expected one value for each of 12 images, found 3",
       "train_labels", Npy("|u1", "(3,)", Bytes(3))},
      {"expected integers of shape (N) or (N, 1), found uint8 (12, 2)",
       "train_labels", Npy("|u1", "(12, 2)", Bytes(24))},
      {"found float32 (12)", "train_labels", Npy("<f4", "(12,)", Bytes(48))},
      {"train_patient: expected one value for each of 12 images, found 2",
       "train_patient", Npy("|u1", "(2,)", Bytes(2))},
      {"found float64 (12, 1, 1)", "train_images",
       Npy("<f8", "(12, 1, 1)", Bytes(96))},
      {"found uint8 (12, 2)", "train_images", Npy("|u1", "(12, 2)", Bytes(24))},
      {"found uint8 (12, 1, 1, 4)", "train_images",
       Npy("|u1", "(12, 1, 1, 4)", Bytes(48))},
      {"images of at least one pixel, found uint8 (12, 0, 5)", "train_images",
       Npy("|u1", "(12, 0, 5)", {})},
      {"the train split is empty", "train_images", Npy("|u1", "(0, 2, 2)", {}),
       absl::StatusCode::kFailedPrecondition},
      {"at most 100000000 pixels, found uint8 (0, 1000000000, 1)",
       "train_images", Npy("|u1", "(0, 1000000000, 1)", {}),
       absl::StatusCode::kResourceExhausted},
      {"needs 1000000128 bytes, but the archive has 152", "train_images",
       Npy("|u1", "(1000000, 1000, 1)", Bytes(24))},
      {"train_images: NPY header: expected the magic", "train_images",
       Bytes(100)},
      {"object arrays are refused", "train_images", Npy("|O", "(12,)", {})},
      {"ends 7 bytes too early", "train_images", Bytes{1},
       absl::StatusCode::kDataLoss},
  };
  for (const Case& c : cases) {
    Members members = Good();
    members.erase(c.member + ".npy");
    if (!c.content.empty()) members[c.member + ".npy"] = c.content;
    if (c.code == absl::StatusCode::kFailedPrecondition) {
      members["train_labels.npy"] = Npy("|u1", "(0,)", {});
    }
    EXPECT_THAT(Open(members), IsError(c.code, c.message)) << c.member;
  }
}

TEST_F(NpzSourceTest, RefusesBrokenArchives) {
  ASSERT_THAT(Open(Good()), IsOk());
  const Bytes good = ReadWholeFile(options_.path);
  for (const size_t size :
       {size_t{0}, size_t{1}, good.size() / 2, good.size() - 1}) {
    WriteFile(options_.path, Bytes(good.begin(), good.begin() + size));
    EXPECT_THAT(OpenNpzSource(options_, TwoClasses()),
                IsError(absl::StatusCode::kInvalidArgument,
                        "data.npz: expected a zip file"))
        << size;
  }
  options_.path = folder_.File("absent.npz");
  EXPECT_THAT(OpenNpzSource(options_, TwoClasses()),
              IsError(absl::StatusCode::kNotFound, "absent.npz"));
}

// The central directory of a zip file holds packed and unpacked size at offset
// 20 and 24 of an entry.
TEST_F(NpzSourceTest, RefusesAZipBombWithoutUnpackingIt) {
  Members members = Good();
  members["train_images.npy"] =
      Npy("|u1", "(100000, 28, 28)", Bytes(78'400'000));
  members["train_labels.npy"] = Npy("|u1", "(100000,)", Bytes(100'000));
  options_.shard_count = 1;
  ASSERT_THAT(Open(members), IsOk());  // large, but honest
  Bytes file = ReadWholeFile(options_.path);
  ASSERT_LT(file.size(), 1'000'000u);
  for (size_t i = 0; i + 60 < file.size(); ++i) {
    if (AsText(ByteSpan(file).subspan(i, 4)) != "PK\1\2") continue;
    for (size_t j = 24; j < 28; ++j) file[i + j] = 0x7F;  // 2 GB
  }
  WriteFile(options_.path, file);
  EXPECT_THAT(
      OpenNpzSource(options_, TwoClasses()),
      IsError(absl::StatusCode::kInvalidArgument, "packed bytes cannot hold"));
}

TEST_F(NpzSourceTest, FindsDamageByTheChecksum) {
  Members members = Good();
  ASSERT_THAT(Open(members), IsOk());
  Bytes file = ReadWholeFile(options_.path);
  // Stored or deflated, the first member's data begin after its local header.
  for (size_t i = 0; i + 4 < file.size(); ++i) {
    if (AsText(ByteSpan(file).subspan(i, 4)) != "PK\1\2") continue;
    file[i + 16] ^= 1;  // checksum in the central directory
  }
  WriteFile(options_.path, file);
  EXPECT_THAT(OpenNpzSource(options_, TwoClasses()),
              HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(NpzSourceTest, RefusesAWrongShard) {
  options_.shard_index = 3;
  options_.shard_count = 3;
  EXPECT_THAT(Open(Good()),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected shard_index below shard_count, found 3 and 3"));
}

TEST_F(NpzSourceTest, PredictionTakesTestImagesWithOrWithoutLabels) {
  Members members;
  AddSplit(members, "test", 4);
  auto source = Open(members, TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTest)[1].label, 1);
  members.erase("test_labels.npy");
  source = Open(members, TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  EXPECT_EQ((*source)->Samples(Split::kTest)[1].label, -1);
  EXPECT_TRUE((*source)->Samples(Split::kTrain).empty());
  members.clear();
  AddSplit(members, "train", 4);
  EXPECT_THAT(Open(members, TwoClasses(DataUse::kPredict)),
              IsError(absl::StatusCode::kInvalidArgument, "test_images"));
}

TEST_F(NpzSourceTest, UnlabelledTakesTrainingImagesAndNoLabels) {
  Members members;
  AddSplit(members, "train", 4);
  AddSplit(members, "test", 4);
  for (const bool labels : {true, false}) {
    if (!labels) members.erase("train_labels.npy");
    const auto source = Open(members, DataContext{});
    ASSERT_THAT(source, IsOk());
    ASSERT_EQ((*source)->Samples(Split::kTrain).size(), 4u);
    EXPECT_EQ((*source)->Samples(Split::kTrain)[1].label, -1);
    EXPECT_TRUE((*source)->Samples(Split::kTest).empty());
    EXPECT_TRUE((*source)->Warnings().empty());
  }
}

}  // namespace
}  // namespace fedgraft
