#include "client/import/checkpoint.h"

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "client/import/torch_checkpoint.h"
#include "common/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/import/pickle_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PickleWriter;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::WriteFile;
using ::fedgraft::testing::WriteNpz;
using ::testing::ElementsAre;

template <typename T>
std::vector<T> Values(Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = checkpoint.Read(name);
  EXPECT_THAT(bytes, IsOk());
  if (!bytes.ok()) return {};
  std::vector<T> values(bytes->size() / sizeof(T));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(T));
  return values;
}

// Three views of storage "0" (0, 1, … 5), and a counter.
PickleWriter& AddTensors(PickleWriter& pickle) {
  pickle.Op('(');
  pickle.Text("a").Tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1});
  pickle.Text("transposed").Tensor("FloatStorage", "0", 6, 0, {3, 2}, {1, 3});
  pickle.Text("every_second").Tensor("FloatStorage", "0", 6, 1, {2}, {2});
  pickle.Text("expanded").Tensor("FloatStorage", "0", 6, 5, {2, 2}, {0, 0});
  pickle.Text("counter").Tensor("LongStorage", "1", 1, 0, {}, {});
  return pickle.Op('u');
}

std::map<std::string, Bytes> Members(const Bytes& pickle) {
  return {{"m/data.pkl", pickle},
          {"m/byteorder", testing::Raw<char>({'l', 'i', 't', 't', 'l', 'e'})},
          {"m/version", Bytes{'3', '\n'}},
          {"m/data/0", Raw<float>({0, 1, 2, 3, 4, 5})},
          {"m/data/1", Raw<int64_t>({42})}};
}

class CheckpointTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Checkpoint>> OpenZip(
      const std::map<std::string, Bytes>& members) {
    WriteNpz(path_, members);
    return OpenCheckpoint(path_);
  }
  Bytes GoodPickle() {
    PickleWriter pickle;
    pickle.Op('}');
    return AddTensors(pickle).Finish();
  }

  TempFolder folder_;
  std::string path_ = folder_.File("model.pth");
};

void ExpectTheTensors(Checkpoint& checkpoint) {
  EXPECT_EQ(checkpoint.tensors().size(), 5u);
  EXPECT_THAT(Values<float>(checkpoint, "a"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(checkpoint.tensors().at("transposed").shape, ElementsAre(3, 2));
  EXPECT_THAT(Values<float>(checkpoint, "transposed"),
              ElementsAre(0, 3, 1, 4, 2, 5));
  EXPECT_THAT(Values<float>(checkpoint, "every_second"), ElementsAre(1, 3));
  EXPECT_THAT(Values<float>(checkpoint, "expanded"), ElementsAre(5, 5, 5, 5));
  EXPECT_EQ(checkpoint.tensors().at("counter").type, ElementType::kI64);
  EXPECT_THAT(Values<int64_t>(checkpoint, "counter"), ElementsAre(42));
}

TEST_F(CheckpointTest, ReadsViewsOfAZipFilesStorages) {
  const auto checkpoint = OpenZip(Members(GoodPickle()));
  ASSERT_THAT(checkpoint, IsOk());
  ExpectTheTensors(**checkpoint);
  EXPECT_TRUE((*checkpoint)->others().empty());
}

TEST_F(CheckpointTest, FindsTheStateDictInsideATrainingState) {
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    PickleWriter pickle;
    pickle.Op('}').Op('(').Text("epoch").Int(3).Text(key).OrderedDict();
    AddTensors(pickle).Text("optimizer").Op('}').Op('u');
    const auto checkpoint = OpenZip(Members(pickle.Finish()));
    ASSERT_THAT(checkpoint, IsOk());
    ExpectTheTensors(**checkpoint);
    EXPECT_TRUE((*checkpoint)->others().empty());
  }
}

TEST_F(CheckpointTest, ReadsTheFormatBeforeZip) {
  const Bytes number = PickleWriter().Int(1001).Finish();
  const Bytes machine = PickleWriter().Op('}').Finish();
  PickleWriter keys;
  keys.Op(']').Op('(').Text("0").Text("1").Op('e');
  ByteWriter file;
  file.Raw(AsBytes(kLegacyTorchStart)).Raw(number).Raw(machine);
  file.Raw(GoodPickle()).Raw(keys.Finish());
  file.U64(6).Raw(Raw<float>({0, 1, 2, 3, 4, 5}));
  file.U64(1).Raw(Raw<int64_t>({42}));
  WriteFile(path_, file.bytes());
  const auto checkpoint = OpenCheckpoint(path_);
  ASSERT_THAT(checkpoint, IsOk());
  ExpectTheTensors(**checkpoint);
  for (const size_t cut : {1, 9, 17, 40}) {
    WriteFile(path_, ByteSpan(file.bytes()).first(file.bytes().size() - cut));
    EXPECT_THAT(OpenCheckpoint(path_), HasCode(absl::StatusCode::kDataLoss))
        << cut;
  }
}

TEST_F(CheckpointTest, ListsWhatIsNoTensor) {
  PickleWriter pickle;
  pickle.Op('}');
  AddTensors(pickle).Op('(').Text("epoch").Int(1).Int(7).Op('N').Op('u');
  const auto checkpoint = OpenZip(Members(pickle.Finish()));
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_THAT((*checkpoint)->others(),
              ElementsAre("epoch (int)", "a key of type int (None)"));
}

TEST_F(CheckpointTest, RefusesWhatIsNoStateDict) {
  EXPECT_THAT(OpenZip(Members(PickleWriter().Op(']').Finish())),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected a state_dict, found a list"));
  PickleWriter other;
  other.Op('}').Text("weights").Op('}').Op('s');
  EXPECT_THAT(OpenZip(Members(other.Finish())),
              IsError(absl::StatusCode::kInvalidArgument,
                      "found a dict of weights (dict)"));
}

TEST_F(CheckpointTest, RefusesOtherAndDamagedFiles) {
  EXPECT_THAT(OpenCheckpoint(path_), HasCode(absl::StatusCode::kNotFound));
  WriteFile(path_, std::string_view("once upon a time there was"));
  EXPECT_THAT(OpenCheckpoint(path_),
              IsError(absl::StatusCode::kInvalidArgument,
                      "_use_new_zipfile_serialization=True"));
  auto script = Members(GoodPickle());
  script["m/constants.pkl"] = Bytes{1};
  EXPECT_THAT(OpenZip(script), IsError(absl::StatusCode::kInvalidArgument,
                                       "TorchScript archive"));
  EXPECT_THAT(OpenZip({{"a.npy", Bytes{1}}}),
              IsError(absl::StatusCode::kInvalidArgument, "without data.pkl"));
  auto big_endian = Members(GoodPickle());
  big_endian["m/byteorder"] = Bytes{'b', 'i', 'g'};
  EXPECT_THAT(OpenZip(big_endian),
              IsError(absl::StatusCode::kInvalidArgument, "little-endian"));

  auto short_storage = Members(GoodPickle());
  short_storage["m/data/0"].resize(20);
  auto checkpoint = OpenZip(short_storage);
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_THAT((*checkpoint)->Read("a"),
              IsError(absl::StatusCode::kDataLoss,
                      "storage 0 has 20 bytes, expected 24"));
  auto no_storage = Members(GoodPickle());
  no_storage.erase("m/data/0");
  checkpoint = OpenZip(no_storage);
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_THAT((*checkpoint)->Read("a"),
              IsError(absl::StatusCode::kNotFound, "no member m/data/0"));
}

TEST_F(CheckpointTest, ReadsSafetensors) {
  const Bytes values = Raw<float>({1, 2});
  WriteFile(path_, *EncodeSafetensors({{"b", {DType::kF32, {2}, values}}}, {}));
  const auto checkpoint = OpenCheckpoint(path_);
  ASSERT_THAT(checkpoint, IsOk());
  EXPECT_EQ((*checkpoint)->tensors().at("b").type, ElementType::kF32);
  EXPECT_THAT(Values<float>(**checkpoint, "b"), ElementsAre(1, 2));
}

}  // namespace
}  // namespace fedgraft
