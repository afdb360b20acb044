#include "aggregator/round/model_file.h"

#include <limits>
#include <memory>
#include <string>

#include "aggregator/round/journal_reader.h"
#include "aggregator/round/memory_file.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

ParameterLayout Layout() {
  return *ParameterLayout::Create({{"b", {2}}, {"a", {2, 2}}});
}

absl::StatusOr<ParameterVector> Read(Bytes content) {
  return ReadTrainableSet(
      Layout(), MemoryFile(std::make_shared<const Bytes>(std::move(content))));
}

class ModelFileTest : public ::testing::Test {
 protected:
  testing::SimFileStore files_;
  BlobStore blobs_{files_, "blobs"};
  const ParameterVector values_ = {1, -0.0f, 1e-42f, 3.4e38f, 5, 6};
  const Bytes encoded_ = EncodeTrainableSet(Layout(), values_);
};

TEST_F(ModelFileTest, KeepsTheBytesOfTheFormatInlineOrAsABlob) {
  const auto small =
      KeepTrainableSet(Layout(), values_, encoded_.size(), blobs_);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_EQ(small->inline_bytes, encoded_);
  EXPECT_EQ(small->digest, Sha256(encoded_));
  EXPECT_FALSE(blobs_.Has(small->digest));

  const auto large =
      KeepTrainableSet(Layout(), values_, encoded_.size() - 1, blobs_);
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ(large->digest, small->digest);
  EXPECT_EQ(large->size_bytes, encoded_.size());
  EXPECT_TRUE(large->inline_bytes.empty());
  Bytes read(encoded_.size());
  ASSERT_THAT((*blobs_.Open(large->digest))->ReadAt(0, absl::MakeSpan(read)),
              testing::IsOk());
  EXPECT_EQ(read, encoded_);
}

// A process beside the daemon, which writes over obsolete models.
TEST_F(ModelFileTest, AModelThatBecameAnotherIsNotTaken) {
  const Digest digest = *blobs_.Put(encoded_);
  const ModelRef model = {digest, encoded_.size(), nullptr};
  EXPECT_EQ(*ReadModel(files_, model), encoded_);
  Bytes mixed = encoded_;
  mixed.back() ^= 1;
  files_.SetContent("blobs/" + digest.Hex(), mixed);
  EXPECT_THAT(ReadModel(files_, model),
              testing::IsError(absl::StatusCode::kUnavailable, "try again"));
  EXPECT_THAT(ReadModel(files_, {Sha256(mixed), mixed.size(), nullptr}),
              testing::HasCode(absl::StatusCode::kNotFound));
}

TEST_F(ModelFileTest, ReadsWhatWasKept) {
  const auto back = Read(encoded_);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, values_);
}

// Other writers may order tensors as they like.
TEST_F(ModelFileTest, ReadsAnyOrderOfTensors) {
  std::string header =
      R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  Bytes content = ByteWriter().U64(header.size()).Raw(AsBytes(header)).bytes();
  const ParameterVector data = {5, 6, 1, 2, 3, 4};
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  content.insert(content.end(), bytes, bytes + 24);
  const auto back = Read(content);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, (ParameterVector{1, 2, 3, 4, 5, 6}));
}

TEST_F(ModelFileTest, NamesWhatIsWrong) {
  ParameterVector bad = values_;
  bad[5] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(
      std::string(Read(EncodeTrainableSet(Layout(), bad)).status().message()),
      HasSubstr("element 1 of b"));
  const auto other = ParameterLayout::Create({{"a", {4}}, {"c", {2}}});
  EXPECT_THAT(
      std::string(Read(EncodeTrainableSet(*other, values_)).status().message()),
      HasSubstr("missing b"));
  Bytes cut = encoded_;
  cut.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(Read(cut).status()));
}

TEST(TrainableSetReaderTest, GivesInSlicesWhatTheWholeHoldsBetweenMoments) {
  const auto layout = ParameterLayout::Create(
      {{"bn.running_mean", {3}, TensorKind::kBatchNormMean},
       {"bn.running_var", {3}, TensorKind::kBatchNormVar},
       {"a.weight", {2}},
       {"z.weight", {4}}});
  ASSERT_TRUE(layout.ok()) << layout.status();
  const ParameterVector values = {1, 2, 3, -4, 5, 0.5f, 1.5f, 2, 6, 7, 8, 9};
  ParameterVector expected = values;
  ToMoments(*layout, expected);
  ASSERT_NE(expected, values);
  const auto file = std::make_shared<MemoryFile>(
      std::make_shared<const Bytes>(EncodeTrainableSet(*layout, values)));
  const ParameterVector room(values.size());
  const auto reader = TrainableSetReader::Open(*layout, file, room);
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (size_t begin = 0; begin < values.size(); ++begin) {
    for (size_t end = begin; end <= values.size(); ++end) {
      ParameterVector slice(end - begin);
      ASSERT_THAT(reader->Read(begin, absl::MakeSpan(slice)), testing::IsOk());
      EXPECT_TRUE(
          std::equal(slice.begin(), slice.end(), expected.begin() + begin));
    }
  }
}

TEST(TrainableSetReaderTest, RefusesAnotherOrderAndValuesThatAreNotFinite) {
  const ParameterLayout layout = Layout();
  ParameterVector values = {1, 2, 3, 4, 5, std::nanf("")};
  const ParameterVector room(values.size());
  auto content = std::make_shared<Bytes>(EncodeTrainableSet(layout, values));
  const auto reader = TrainableSetReader::Open(
      layout, std::make_shared<MemoryFile>(content), room);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ParameterVector slice(5);
  EXPECT_THAT(reader->Read(0, absl::MakeSpan(slice)), testing::IsOk());
  EXPECT_THAT(reader->Read(1, absl::MakeSpan(slice)),
              testing::HasCode(absl::StatusCode::kDataLoss));
  content->push_back(0);
  EXPECT_THAT(TrainableSetReader::Open(
                  layout, std::make_shared<MemoryFile>(content), room),
              testing::HasCode(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace fedgraft
