#include "client/import/import_backbone.h"

#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kFirst[] = "features.0.weight";

// Tensors in memory; value i of every tensor is i.
class FakeCheckpoint final : public Checkpoint {
 public:
  const std::map<std::string, CheckpointTensor>& tensors() const override {
    return tensors_;
  }
  const std::vector<std::string>& others() const override { return others_; }
  absl::StatusOr<Bytes> Read(const std::string& name) override {
    const auto given = bytes_.find(name);
    if (given != bytes_.end()) return given->second;
    int64_t count = 1;
    for (const int64_t dimension : tensors_.at(name).shape) count *= dimension;
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i);
    Bytes bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }

  std::map<std::string, CheckpointTensor> tensors_;
  std::vector<std::string> others_;
  std::map<std::string, Bytes> bytes_;
};

class ImportBackboneTest : public ::testing::Test {
 protected:
  ImportBackboneTest() {
    options_.architecture = "squeezenet1_1";
    for (const auto& [name, shape] :
         BackboneTensors(*FindArchitecture("squeezenet1_1"))) {
      checkpoint_.tensors_[name] = {ElementType::kF32, shape};
    }
    checkpoint_.tensors_["classifier.1.weight"] = {ElementType::kF32,
                                                   {7, 512, 1, 1}};
    checkpoint_.tensors_["classifier.1.bias"] = {ElementType::kF32, {7}};
  }
  void Rename(const std::function<std::string(const std::string&)>& rename) {
    std::map<std::string, CheckpointTensor> renamed;
    for (const auto& [name, tensor] : checkpoint_.tensors_) {
      renamed[rename(name)] = tensor;
    }
    checkpoint_.tensors_ = renamed;
  }
  SafetensorsFile Import() {
    auto imported = ImportBackbone(checkpoint_, options_);
    EXPECT_THAT(imported, IsOk());
    if (!imported.ok()) imported = ImportedBackbone();
    result_ = *imported;
    auto file = SafetensorsFile::Parse(result_.safetensors, "imported");
    EXPECT_THAT(file, IsOk());
    return *std::move(file);
  }
  void ExpectError(const std::string& message) {
    EXPECT_THAT(ImportBackbone(checkpoint_, options_),
                IsError(absl::StatusCode::kInvalidArgument, message));
  }

  FakeCheckpoint checkpoint_;
  ImportOptions options_;
  ImportedBackbone result_;
};

TEST_F(ImportBackboneTest, MakesABackboneFileWithItsHead) {
  const SafetensorsFile file = Import();
  EXPECT_THAT(CheckBackbone(*FindArchitecture("squeezenet1_1"), file), IsOk());
  EXPECT_EQ(file.tensors().size(), checkpoint_.tensors_.size());
  EXPECT_EQ(file.tensors().at("classifier.1.weight").shape[0], 7);
  EXPECT_EQ((*file.ReadFloats(kFirst))[1000], 1000);
  EXPECT_EQ(file.metadata().at("architecture"), "squeezenet1_1");
  EXPECT_THAT(result_.renamed, IsEmpty());
  EXPECT_THAT(result_.dropped, IsEmpty());
}

TEST_F(ImportBackboneTest, WidensAndNarrowsToF32) {
  const std::vector<double> doubles(64, 0.1);
  Bytes bytes(doubles.size() * 8);
  std::memcpy(bytes.data(), doubles.data(), bytes.size());
  checkpoint_.tensors_["features.0.bias"].type = ElementType::kF64;
  checkpoint_.bytes_["features.0.bias"] = bytes;
  checkpoint_.tensors_["features.3.squeeze.bias"].type = ElementType::kBF16;
  Bytes brains;
  for (int i = 0; i < 16; ++i) brains.insert(brains.end(), {0x40, 0xc0});
  checkpoint_.bytes_["features.3.squeeze.bias"] = brains;
  const SafetensorsFile file = Import();
  EXPECT_EQ(file.tensors().at("features.0.bias").dtype, DType::kF32);
  EXPECT_EQ((*file.ReadFloats("features.0.bias"))[3], 0.1f);
  EXPECT_EQ((*file.ReadFloats("features.3.squeeze.bias"))[15], -3.0f);
}

TEST_F(ImportBackboneTest, APrefixIsTakenAwayOnlyIfAskedFor) {
  Rename([](const std::string& name) { return "module." + name; });
  ExpectError(
      "50 names would fit without \"module.\": give --strip-prefix "
      "module.");
  options_.strip_prefix = "module.";
  Import();
  EXPECT_THAT(result_.renamed,
              Contains("module.features.0.weight -> features.0.weight"));
  options_.strip_prefix = "net.";
  ExpectError("--strip-prefix net.: matches no name");
}

TEST_F(ImportBackboneTest, RenamesWhatIsAskedFor) {
  Rename([](const std::string& name) {
    return name.find("expand") == std::string::npos
               ? name
               : name.substr(0, name.find("expand")) + "wide" +
                     name.substr(name.find("expand") + 6);
  });
  ExpectError("unexpected features.10.wide1x1.bias");
  options_.renames = {{"wide", "expand"}};
  Import();
  options_.renames = {{"wide", "expand"}, {"absent", "x"}};
  ExpectError("--rename absent: matches no name");
  options_.renames = {{"wide1x1", "expand"}, {"wide3x3", "expand"}};
  ExpectError("both become features.10.expand.bias");
}

TEST_F(ImportBackboneTest, TheHeadMayHaveAnotherNameOrNone) {
  Rename([](const std::string& name) {
    return name.starts_with("classifier.1") ? "last" + name.substr(12) : name;
  });
  ExpectError(
      "unexpected last.bias, last.weight; if it is the classifier, "
      "give --head-prefix last");
  options_.head_prefix = "last";
  EXPECT_TRUE(Import().tensors().contains("classifier.1.weight"));
  checkpoint_.tensors_.erase("last.weight");
  checkpoint_.tensors_.erase("last.bias");
  ExpectError("--head-prefix last: matches no name");
  options_.head_prefix = "";
  EXPECT_EQ(Import().tensors().size(), 50u);
}

TEST_F(ImportBackboneTest, AHeadOfAnotherFormIsDroppedAndSaidSo) {
  checkpoint_.tensors_["classifier.1.weight"].shape = {7, 100, 1, 1};
  EXPECT_FALSE(Import().tensors().contains("classifier.1.weight"));
  EXPECT_THAT(result_.dropped,
              ElementsAre("classifier.1.bias F32 [7]",
                          "classifier.1.weight F32 [7, 100, 1, 1]"));
}

// A view with stride 0 has any shape it likes: nothing is allocated for it.
TEST_F(ImportBackboneTest, DropsAHeadOfAbsurdSize) {
  checkpoint_.tensors_["classifier.1.weight"].shape = {1 << 30, 512, 1, 1};
  EXPECT_FALSE(Import().tensors().contains("classifier.1.weight"));
  EXPECT_EQ(result_.dropped.size(), 2u);
}

TEST_F(ImportBackboneTest, ListsMissingUnexpectedAndMisshapenTensors) {
  checkpoint_.tensors_.erase("features.12.squeeze.bias");
  checkpoint_.tensors_["extra"] = {ElementType::kF32, {2}};
  checkpoint_.tensors_[kFirst].shape = {64, 3, 7, 7};
  checkpoint_.tensors_["features.0.bias"].type = ElementType::kI32;
  checkpoint_.others_ = {"epoch (int)"};
  ExpectError(
      "the checkpoint is not a squeezenet1_1: missing "
      "features.12.squeeze.bias; unexpected extra, epoch (int); misshapen "
      "features.0.bias (floats [64] expected, I32 [64] came), "
      "features.0.weight (floats [64, 3, 3, 3] expected, F32 [64, 3, 7, 7] "
      "came)");
}

TEST_F(ImportBackboneTest, OneInputChannelBecomesThreeOnlyIfAskedFor) {
  checkpoint_.tensors_[kFirst].shape = {64, 1, 3, 3};
  ExpectError("is for grey images: give --input-channels 1");
  options_.input_channels = 1;
  const SafetensorsFile file = Import();
  EXPECT_THAT(file.tensors().at(kFirst).shape, ElementsAre(64, 3, 3, 3));
  const std::vector<float> values = *file.ReadFloats(kFirst);
  for (int filter = 0; filter < 64; ++filter) {
    for (int channel = 0; channel < 3; ++channel) {
      for (int k = 0; k < 9; ++k) {
        EXPECT_EQ(values[filter * 27 + channel * 9 + k],
                  static_cast<float>(filter * 9 + k) / 3);
      }
    }
  }
  EXPECT_THAT(result_.converted,
              ElementsAre(HasSubstr("features.0.weight: 1 channel to 3")));
  checkpoint_.tensors_[kFirst].shape = {64, 3, 3, 3};
  ExpectError("floats [64, 1, 3, 3] expected");
  options_.input_channels = 4;
  ExpectError("expected 1 or 3, found 4");
}

TEST_F(ImportBackboneTest, RefusesValuesThatAreNotFinite) {
  std::vector<float> values(64, 1);
  values[5] = std::numeric_limits<float>::infinity();
  Bytes bytes(values.size() * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  checkpoint_.bytes_["features.0.bias"] = bytes;
  ExpectError("features.0.bias[5]: expected a finite number");
}

TEST_F(ImportBackboneTest, KeepsCountersAndRefusesUnknownArchitectures) {
  checkpoint_.tensors_.clear();
  for (const auto& [name, shape] :
       BackboneTensors(*FindArchitecture("resnet18"))) {
    checkpoint_.tensors_[name] = {ElementType::kF32, shape};
  }
  checkpoint_.tensors_["bn1.num_batches_tracked"] = {ElementType::kI64, {}};
  checkpoint_.bytes_["bn1.num_batches_tracked"] = Bytes{9, 0, 0, 0, 0, 0, 0, 0};
  options_.architecture = "resnet18";
  const SafetensorsFile file = Import();
  const TensorView& counter = file.tensors().at("bn1.num_batches_tracked");
  EXPECT_EQ(counter.dtype, DType::kI64);
  EXPECT_EQ(counter.data[0], 9);
  options_.architecture = "vgg";
  ExpectError("unknown architecture \"vgg\"");
}

}  // namespace
}  // namespace fedgraft
