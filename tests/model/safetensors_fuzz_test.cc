#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "common/model/safetensors.h"
#include "gtest/gtest.h"

// Seeded mutations of good headers: the parser may refuse them, and must
// otherwise keep its promises; under ASan this is a small fuzzer.

namespace fedgraft {
namespace {

const char* const kSeeds[] = {
    R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})",
    R"({"__metadata__":{"k":"v"},"a":{"dtype":"F16","shape":[8],)"
    R"("data_offsets":[0,16]}})",
    R"({"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},)"
    R"("b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})",
    R"({"z":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
    R"("a":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]}})"};

// Pieces that reach the deep checks more often than random bytes.
const char* const kPieces[] = {"18446744073709551615",
                               "9223372036854775808",
                               "4294967296",
                               "-1",
                               "0",
                               "[",
                               "]",
                               "{",
                               "}",
                               ",",
                               ":",
                               "\"",
                               "\\u0000",
                               "1e99",
                               "null",
                               "true",
                               "\"F32\"",
                               "\"shape\":",
                               "[0,16]",
                               "\xff",
                               "__metadata__"};

std::string Mutate(std::string header, std::mt19937& random) {
  for (unsigned n = 1 + random() % 4; n > 0; --n) {
    const size_t at = header.empty() ? 0 : random() % header.size();
    switch (random() % 4) {
      case 0:
        header.insert(at, kPieces[random() % std::size(kPieces)]);
        break;
      case 1:
        header.erase(at, 1 + random() % 8);
        break;
      case 2:
        if (!header.empty()) header[at] = static_cast<char>(random());
        break;
      default: {
        const std::string piece = kPieces[random() % std::size(kPieces)];
        header.replace(at, piece.size(), piece);
      }
    }
  }
  return header;
}

void ExpectPromisesKept(const SafetensorsFile& file, size_t file_bytes) {
  size_t data_bytes = 0;
  for (const auto& [name, view] : file.tensors()) {
    EXPECT_FALSE(name.empty());
    int64_t count = 1;
    for (int64_t side : view.shape) count *= side;
    const size_t size = view.dtype == DType::kI64   ? 8
                        : view.dtype == DType::kF32 ? 4
                                                    : 2;
    EXPECT_EQ(static_cast<size_t>(count) * size, view.data.size());
    data_bytes += view.data.size();
    if (view.dtype != DType::kI64) {
      const auto floats = file.ReadFloats(name);
      ASSERT_TRUE(floats.ok());
      EXPECT_EQ(static_cast<int64_t>(floats->size()), count);
    }
  }
  EXPECT_LE(data_bytes, file_bytes);
}

TEST(SafetensorsFuzzTest, MutatedHeadersNeverBreakThePromises) {
  std::mt19937 random(20240602);
  int accepted = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string header = kSeeds[i % std::size(kSeeds)];
    if (i % 16 != 0) header = Mutate(std::move(header), random);
    uint64_t declared = header.size();
    if (random() % 32 == 0) declared = random() % (header.size() + 64);
    Bytes bytes = ByteWriter().U64(declared).Raw(AsBytes(header)).bytes();
    bytes.resize(bytes.size() + (random() % 16 == 0 ? random() % 32 : 16));
    const size_t size = bytes.size();
    const auto file = SafetensorsFile::Parse(std::move(bytes), "fuzz");
    if (!file.ok()) {
      ASSERT_TRUE(absl::IsInvalidArgument(file.status()));
      continue;
    }
    ++accepted;
    ExpectPromisesKept(*file, size);
  }
  EXPECT_GT(accepted, 3000);
}

TEST(SafetensorsFuzzTest, RandomBytesAreRefused) {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes(random() % 64);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    if (bytes.size() > 8) {  // let the header begin
      std::memset(bytes.data(), 0, 8);
      bytes[0] = static_cast<uint8_t>(bytes.size() - 8);
    }
    EXPECT_FALSE(SafetensorsFile::Parse(std::move(bytes), "fuzz").ok());
  }
}

}  // namespace
}  // namespace fedgraft
