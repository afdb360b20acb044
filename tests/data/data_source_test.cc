#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/data/data_source_factory.h"
#include "client/data/splits.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::DefaultConfig;
using ::fedgraft::testing::Encode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::Npy;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteFile;
using ::fedgraft::testing::WriteNpz;

pb::DataConfig MakeNpz(const TempFolder& folder) {
  pb::DataConfig config = DefaultConfig("npz");
  config.set_path(folder.File("data.npz"));
  Bytes images(6 * 64, 40);
  for (size_t i = 0; i < images.size(); i += 3) images[i] = i & 0xFF;
  const Bytes labels = {0, 1, 0, 1, 0, 1};
  std::map<std::string, Bytes> members;
  for (const std::string split : {"train", "val", "test"}) {
    members[split + "_images.npy"] = Npy("|u1", "(6, 8, 8)", images);
    members[split + "_labels.npy"] = Npy("|u1", "(6, 1)", labels);
  }
  WriteNpz(config.path(), members);
  return config;
}

pb::DataConfig MakeFolder(const TempFolder& folder) {
  pb::DataConfig config = DefaultConfig("folder");
  config.set_path(folder.File("labels.csv"));
  std::string manifest = "path,label\n";
  for (int i = 0; i < 20; ++i) {
    const std::string name = std::to_string(i) + ".png";
    manifest += name + (i % 2 == 0 ? ",benign\n" : ",1\n");
    WriteFile(folder.File(name), Encode(".png", 8, 6, 3, 8, i));
  }
  WriteFile(config.path(), manifest);
  return config;
}

pb::DataConfig MakePhantom(const TempFolder&) {
  pb::DataConfig config = DefaultConfig("phantom");
  config.mutable_phantom()->set_train(20);
  config.mutable_phantom()->set_val(10);
  config.mutable_phantom()->set_test(10);
  return config;
}

pb::DataConfig MakeEmbeddings(const TempFolder& folder) {
  pb::DataConfig config = DefaultConfig("embeddings_npz");
  config.set_path(folder.File("embeddings.npz"));
  std::vector<float> values(20 * 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.5f * i - 7;
  Bytes labels;
  for (uint8_t i = 0; i < 20; ++i) labels.push_back(i % 2);
  WriteNpz(config.path(),
           {{"train_features.npy", Npy("<f4", "(20, 3)", Raw(values))},
            {"train_labels.npy", Npy("|u1", "(20,)", labels)}});
  return config;
}

pb::DataConfig MakeTable(const TempFolder& folder) {
  pb::DataConfig config = DefaultConfig("table");
  config.set_path(folder.File("table.csv"));
  std::string table = "age,sex,label\n";
  for (int i = 0; i < 20; ++i) {
    table += std::to_string(40 + i) + (i % 3 == 0 ? ",F," : ",M,") +
             (i % 2 == 0 ? "benign\n" : "malignant\n");
  }
  WriteFile(config.path(), table);
  config.mutable_table()->add_numeric("age");
  auto* sex = config.mutable_table()->add_categories();
  sex->set_column("sex");
  sex->add_values("F");
  sex->add_values("M");
  return config;
}

// Every kind of the registry goes through these; a new one only needs a way
// to make its input.
const std::map<std::string, std::function<pb::DataConfig(const TempFolder&)>>&
Makers() {
  static const auto* makers =
      new std::map<std::string,
                   std::function<pb::DataConfig(const TempFolder&)>>{
          {"npz", MakeNpz},
          {"folder", MakeFolder},
          {"phantom", MakePhantom},
          {"embeddings_npz", MakeEmbeddings},
          {"table", MakeTable}};
  return *makers;
}

class DataSourceConformanceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Makers().contains(GetParam()))
        << "no input for the new data source " << GetParam();
    config_ = Makers().at(GetParam())(folder_);
    auto source = OpenDataSource(config_, TwoClasses());
    ASSERT_THAT(source, IsOk());
    source_ = *std::move(source);
  }

  TempFolder folder_;
  pb::DataConfig config_;
  std::unique_ptr<DataSource> source_;
};

TEST_P(DataSourceConformanceTest, SamplesHaveLabelsAndNamesOfTheirOwn) {
  std::set<std::string> names;
  size_t count = 0;
  for (const Split split : kAllSplits) {
    EXPECT_FALSE(source_->Samples(split).empty());
    for (const Sample& sample : source_->Samples(split)) {
      EXPECT_TRUE(sample.label == 0 || sample.label == 1);
      names.insert(sample.name);
      ++count;
    }
  }
  EXPECT_EQ(names.size(), count);
  EXPECT_TRUE(source_->Warnings().empty());
}

TEST_P(DataSourceConformanceTest, ImagesAreWellFormed) {
  for (const Split split : kAllSplits) {
    for (size_t i = 0; i < source_->Samples(split).size(); ++i) {
      const auto image = source_->Load(split, i);
      ASSERT_THAT(image, IsOk());
      EXPECT_GT(image->height, 0);
      EXPECT_GT(image->width, 0);
      EXPECT_TRUE(image->channels == 1 || image->channels == 3);
      ASSERT_EQ(image->pixels.size(), static_cast<size_t>(image->height) *
                                          image->width * image->channels);
      if (source_->feature_dim() > 0) {
        EXPECT_EQ(image->height, 1);
        EXPECT_EQ(image->width, source_->feature_dim());
        EXPECT_EQ(image->channels, 1);
        for (const float value : image->pixels) {
          ASSERT_TRUE(std::isfinite(value));
        }
        continue;
      }
      for (const float value : image->pixels) {
        ASSERT_TRUE(value >= 0 && value <= 1) << value;
      }
    }
  }
}

TEST_P(DataSourceConformanceTest, OpeningAgainGivesTheSame) {
  const auto again = OpenDataSource(config_, TwoClasses());
  ASSERT_THAT(again, IsOk());
  for (const Split split : kAllSplits) {
    const auto& samples = source_->Samples(split);
    ASSERT_EQ((*again)->Samples(split).size(), samples.size());
    for (size_t i = 0; i < samples.size(); ++i) {
      EXPECT_EQ((*again)->Samples(split)[i].name, samples[i].name);
      EXPECT_EQ((*again)->Samples(split)[i].label, samples[i].label);
      EXPECT_EQ((*again)->Load(split, i)->pixels,
                source_->Load(split, i)->pixels);
    }
  }
}

TEST_P(DataSourceConformanceTest, ThreadsMayLoadTogether) {
  const size_t count = source_->Samples(Split::kTrain).size();
  std::vector<std::vector<float>> expected(count);
  for (size_t i = 0; i < count; ++i) {
    expected[i] = source_->Load(Split::kTrain, i)->pixels;
  }
  std::vector<std::vector<std::vector<float>>> loaded(4, expected);
  std::vector<std::thread> threads;
  for (auto& images : loaded) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < count; ++i) {
        images[i] = source_->Load(Split::kTrain, i)->pixels;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& images : loaded) EXPECT_EQ(images, expected);
}

INSTANTIATE_TEST_SUITE_P(Registry, DataSourceConformanceTest,
                         ::testing::ValuesIn(DataSourceKinds()),
                         [](const auto& info) { return info.param; });

TEST(DataSourceFactoryTest, RefusesAnUnknownKindAndAMissingPath) {
  EXPECT_THAT(OpenDataSource(DefaultConfig("dicomm"), TwoClasses()),
              IsError(absl::StatusCode::kInvalidArgument,
                      "data.kind: expected npz, folder, phantom, "
                      "embeddings_npz, table; found "
                      "\"dicomm\""));
  for (const std::string kind : {"npz", "folder", "embeddings_npz", "table"}) {
    EXPECT_THAT(OpenDataSource(DefaultConfig(kind), TwoClasses()),
                IsError(absl::StatusCode::kInvalidArgument,
                        "data.path: expected a file"));
  }
}

TEST(DataSourceFactoryTest, PassesOnTheColumnsOfTheManifest) {
  const TempFolder folder;
  WriteFile(folder.File("img/a.png"), Encode(".png", 2, 2, 1, 8, 1));
  WriteFile(folder.File("img/b.png"), Encode(".png", 2, 2, 1, 8, 1));
  WriteFile(folder.File("m.csv"),
            "file,class,who,part,site\na.png,0,p1,train,x\n"
            "b.png,1,p2,val,x\nc.png,?,?,?,y\n");
  pb::DataConfig config = DefaultConfig("folder");
  config.set_path(folder.File("m.csv"));
  config.set_root(folder.File("img"));
  config.set_image_column("file");
  config.set_label_column("class");
  config.set_patient_column("who");
  config.set_split_column("part");
  config.set_filter_column("site");
  config.set_filter_value("x");
  const auto source = OpenDataSource(config, TwoClasses());
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTrain).size(), 1u);
  EXPECT_EQ((*source)->Samples(Split::kTrain)[0].patient, "p1");
  ASSERT_EQ((*source)->Samples(Split::kVal).size(), 1u);
  EXPECT_EQ((*source)->Samples(Split::kVal)[0].label, 1);
}

}  // namespace
}  // namespace fedgraft
