#include "common/model/safetensors.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "common/base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/test_files.h"

namespace fedgraft {
namespace {

using ::testing::HasSubstr;

// A file with this JSON header, not padded, and `data_bytes` zeros.
Bytes FileOf(const std::string& header, size_t data_bytes) {
  Bytes out = ByteWriter().U64(header.size()).Raw(AsBytes(header)).bytes();
  out.resize(out.size() + data_bytes);
  return out;
}

template <typename T>
ByteSpan Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(T)};
}

TEST(SafetensorsTest, WrittenFileReadsBack) {
  const std::vector<float> floats = {1.5f, -2, 3, 4, 5, 6};
  const std::vector<int64_t> integers = {42};
  const auto bytes =
      EncodeSafetensors({{"a.weight", {DType::kF32, {2, 3}, Raw(floats)}},
                         {"n", {DType::kI64, {}, Raw(integers)}},
                         {"empty", {DType::kF32, {0, 4}, {}}}},
                        {{"made_by", "a test \"quoted\""}});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const auto file = SafetensorsFile::Parse(*bytes, "memory");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(*file->ReadFloats("a.weight"), floats);
  EXPECT_EQ(file->tensors().at("a.weight").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(file->tensors().at("n").shape.empty());
  EXPECT_TRUE(file->ReadFloats("empty")->empty());
  EXPECT_EQ(file->metadata().at("made_by"), "a test \"quoted\"");
  EXPECT_TRUE(absl::IsInvalidArgument(file->ReadFloats("n").status()));
  EXPECT_TRUE(absl::IsNotFound(file->ReadFloats("b").status()));
}

TEST(SafetensorsTest, WriterIsDeterministicAndAligned) {
  const std::vector<float> floats = {1};
  const std::vector<int64_t> integers = {2};
  const std::map<std::string, TensorToWrite> tensors = {
      {"a", {DType::kF32, {1}, Raw(floats)}},
      {"b", {DType::kI64, {1}, Raw(integers)}}};
  const auto bytes = EncodeSafetensors(tensors, {});
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, *EncodeSafetensors(tensors, {}));
  const std::string header =
      R"({"a":{"data_offsets":[8,12],"dtype":"F32","shape":[1]},)"
      R"("b":{"data_offsets":[0,8],"dtype":"I64","shape":[1]}})";
  const size_t padded = (header.size() + 7) / 8 * 8;
  EXPECT_EQ((*bytes)[0], padded);
  EXPECT_EQ(AsText(ByteSpan(*bytes).subspan(8, header.size())), header);
  EXPECT_EQ(bytes->size(), 8 + padded + 12);
}

TEST(SafetensorsTest, WriterRefusesWhatReadersWould) {
  const std::vector<float> one = {1};
  const TensorToWrite good = {DType::kF32, {1}, Raw(one)};
  EXPECT_TRUE(EncodeSafetensors({{"a", good}}, {}).ok());
  for (const auto& [name, tensor] :
       std::vector<std::pair<std::string, TensorToWrite>>{
           {"", good},
           {"__metadata__", good},
           {"\xff", good},
           {"a", {DType::kF32, {2}, Raw(one)}},
           {"a", {DType::kF16, {2}, Raw(one)}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        EncodeSafetensors({{name, tensor}}, {}).status()));
  }
}

// Expected values from Python's struct module, format 'e'.
TEST(SafetensorsTest, HalfPrecisionWidensExactly) {
  const std::vector<std::pair<uint16_t, float>> cases = {
      {0x0000, 0.0f},      {0x3c00, 1.0f},      {0xc000, -2.0f},
      {0x7bff, 65504.0f},  {0x0400, 0x1p-14f},  {0x03ff, 0x1.ff8p-15f},
      {0x0001, 0x1p-24f},  {0x8001, -0x1p-24f}, {0x3555, 0x1.554p-2f},
      {0x7c00, HUGE_VALF}, {0xfc00, -HUGE_VALF}};
  Bytes file =
      FileOf(R"({"h":{"dtype":"F16","shape":[11],"data_offsets":[0,22]}})", 22);
  for (size_t i = 0; i < cases.size(); ++i) {
    std::memcpy(file.data() + file.size() - 22 + 2 * i, &cases[i].first, 2);
  }
  const auto parsed = SafetensorsFile::Parse(file, "memory");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const auto values = parsed->ReadFloats("h");
  ASSERT_TRUE(values.ok());
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ((*values)[i], cases[i].second) << std::hex << cases[i].first;
  }
}

TEST(SafetensorsTest, HalfNaNAndMinusZeroKeepTheirKind) {
  Bytes file =
      FileOf(R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 4);
  file[file.size() - 4] = 1;  // 0x7e01: NaN
  file[file.size() - 3] = 0x7e;
  file[file.size() - 1] = 0x80;  // 0x8000: -0
  const auto values = SafetensorsFile::Parse(file, "memory")->ReadFloats("h");
  ASSERT_TRUE(values.ok());
  EXPECT_TRUE(std::isnan((*values)[0]));
  EXPECT_TRUE((*values)[1] == 0 && std::signbit((*values)[1]));
}

TEST(SafetensorsTest, BrainFloatWidens) {
  Bytes file =
      FileOf(R"({"b":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", 4);
  const uint16_t words[] = {0x3f80, 0xc049};
  std::memcpy(file.data() + file.size() - 4, words, 4);
  EXPECT_EQ(*SafetensorsFile::Parse(file, "memory")->ReadFloats("b"),
            (std::vector<float>{1.0f, -3.140625f}));
}

TEST(SafetensorsTest, OpenMapsAFileAndNamesWhatIsWrongWithIt) {
  const std::string folder = ::testing::TempDir() + "fedgraft_safetensors";
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/a.safetensors";
  const std::vector<float> one = {1};
  const Bytes bytes =
      *EncodeSafetensors({{"a", {DType::kF32, {1}, Raw(one)}}}, {});
  std::ofstream(path, std::ios::binary) << AsText(bytes);
  auto opened = SafetensorsFile::Open(path);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const SafetensorsFile moved = *std::move(opened);
  EXPECT_EQ(*moved.ReadFloats("a"), one);

  EXPECT_TRUE(
      absl::IsNotFound(SafetensorsFile::Open(folder + "/none").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(SafetensorsFile::Open(folder).status()));
  for (size_t size : {size_t{0}, size_t{7}, size_t{20}, bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        << AsText(ByteSpan(bytes).first(size));
    const absl::Status status = SafetensorsFile::Open(path).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << size;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  }
  std::filesystem::remove_all(folder);
}

TEST(SafetensorsTest, HostileHeadersAreRefusedWithTheReason) {
  struct Case {
    std::string header;
    size_t data_bytes;
    std::string message;
  };
  const std::string f4 = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const Case cases[] = {
      {"", 0, "not JSON"},
      {"{", 0, "not JSON"},
      {"[]", 0, "wrong type|tensor belongs"},
      {"5", 0, "tensor belongs"},
      {R"({"a":5})", 0, "wrong type"},
      {R"({"a":{}})", 0, "needs dtype"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "needs dtype"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "two"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", 8, "F64"},
      {R"({"a":{"dtype":5,"shape":[1],"data_offsets":[0,4]}})", 4, "type"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "type"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4,
       "type"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4,
       "type"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4,
       "offsets 4 to 0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4,
       "4 bytes of data"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
       "does not fit"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387905],)"
       R"("data_offsets":[0,4]}})",
       4, "does not fit"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],)"
       R"("data_offsets":[0,4]}})",
       4, "does not fit"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],)"
       R"("data_offsets":[0,0]}})",
       0, "does not fit"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],)"
       R"("data_offsets":[0,4]}})",
       4, "more than 16"},
      {"{\"a\":{" + f4 + "},\"a\":{" + f4 + "}}", 4, "twice"},
      {"{\"a\":{" + f4 + ",\"shape\":[1]}}", 4, "repeated field"},
      {"{\"a\":{" + f4 + ",\"x\":1}}", 4, "unknown or repeated"},
      {"{\"a\":{" + f4 + "},\"b\":{" + f4 + "}}", 4, "overlaps"},
      {"{\"a\":{" + f4 + "}}", 8, "after the last"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
       "unused bytes"},
      {R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "empty"},
      {R"({"__metadata__":{"a":5}})", 0, "wrong type"},
      {R"({"__metadata__":{"a":"b","a":"c"}})", 0, "twice"},
      {R"({"__metadata__":5})", 0, "wrong type"},
      {R"({"__metadata__":{"a":{}}})", 0, "none belongs"},
      {"{\"a\":{" + f4 + "}} x", 4, "not JSON"},
      {std::string(200'000, '['), 0, "tensor belongs"},
      {"{\"a\":{\"shape\":" + std::string(200'000, '['), 0, "type"},
  };
  for (const Case& bad : cases) {
    const auto file =
        SafetensorsFile::Parse(FileOf(bad.header, bad.data_bytes), "x.bin");
    ASSERT_TRUE(absl::IsInvalidArgument(file.status())) << bad.header;
    const std::string message(file.status().message());
    EXPECT_THAT(message, ::testing::ContainsRegex(bad.message)) << bad.header;
    EXPECT_THAT(message, HasSubstr("x.bin"));
  }
}

TEST(SafetensorsTest, HugeHeaderSizesAreRefusedBeforeReading) {
  for (uint64_t size : {uint64_t{101} << 20, UINT64_MAX, UINT64_MAX - 7}) {
    Bytes bytes = ByteWriter().U64(size).U64(0).bytes();
    const auto file = SafetensorsFile::Parse(bytes, "x");
    ASSERT_TRUE(absl::IsInvalidArgument(file.status()));
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("100 MiB"));
  }
}

TEST(SafetensorsTest, MessagesQuoteHostileNamesSafely) {
  const std::string name = "\\u0007" + std::string(5000, 'x');
  const auto file = SafetensorsFile::Parse(
      FileOf("{\"" + name + "\":{\"dtype\":\"Q\"}}", 0), "x");
  const std::string message(file.status().message());
  EXPECT_LT(message.size(), 400u);
  EXPECT_EQ(message.find('\a'), std::string::npos);
}

TEST(SafetensorsTest, RealBackbonesReadWithTheirKnownValues) {
  const std::string folder = TestData("backbones");
  if (folder.empty()) GTEST_SKIP() << "no data folder";
  const auto full =
      SafetensorsFile::Open(folder + "/squeezenet1_1.safetensors");
  const auto half =
      SafetensorsFile::Open(folder + "/squeezenet1_1.f16.safetensors");
  ASSERT_TRUE(full.ok()) << full.status();
  ASSERT_TRUE(half.ok()) << half.status();
  int64_t count = 0;
  for (const auto& [name, view] : full->tensors()) {
    const auto wide = full->ReadFloats(name);
    const auto narrow = half->ReadFloats(name);
    ASSERT_TRUE(wide.ok() && narrow.ok()) << name;
    ASSERT_EQ(wide->size(), narrow->size());
    count += static_cast<int64_t>(wide->size());
    for (size_t i = 0; i < wide->size(); ++i) {
      ASSERT_NEAR((*wide)[i], (*narrow)[i],
                  std::abs((*wide)[i]) * 0x1p-11 + 0x1p-25)
          << name;
    }
  }
  EXPECT_EQ(count, 1'235'496);
}

ParameterLayout SmallLayout() {
  return *ParameterLayout::Create({{"b", {2}}, {"a", {2, 2}}});
}

TEST(TrainableSetFileTest, RoundTripsBitForBit) {
  const ParameterVector values = {1, -0.0f, 1e-42f, 3.4e38f, 5, 6};
  const Bytes bytes = EncodeTrainableSet(SmallLayout(), values);
  EXPECT_LT(bytes.size(), 6 * 4 + 2048u);
  const auto back = DecodeTrainableSet(SmallLayout(), bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(std::memcmp(back->data(), values.data(), 24), 0);
}

TEST(TrainableSetFileTest, ListsMissingUnexpectedAndMisshapenTensors) {
  const auto other = ParameterLayout::Create({{"a", {4}}, {"c", {1}}});
  const auto decoded = DecodeTrainableSet(
      SmallLayout(), EncodeTrainableSet(*other, ParameterVector(5)));
  ASSERT_TRUE(absl::IsInvalidArgument(decoded.status()));
  EXPECT_EQ(decoded.status().message(),
            "trainable set: missing b; unexpected c; misshapen a (F32 [2, 2] "
            "expected, F32 [4] came)");
}

TEST(TrainableSetFileTest, RefusesNonFiniteValuesNamingThem) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF}) {
    ParameterVector values(6, 1.0f);
    values[5] = bad;  // b[1]
    const auto decoded = DecodeTrainableSet(
        SmallLayout(), EncodeTrainableSet(SmallLayout(), values));
    ASSERT_TRUE(absl::IsInvalidArgument(decoded.status()));
    EXPECT_THAT(std::string(decoded.status().message()),
                HasSubstr("element 1 of b"));
  }
}

}  // namespace
}  // namespace fedgraft
