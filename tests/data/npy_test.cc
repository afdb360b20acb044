#include "client/data/npy.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::Npy;
using ::fedgraft::testing::NpyWithHeader;
using ::fedgraft::testing::Raw;

absl::StatusOr<NpyHeader> Parse(const Bytes& file) {
  size_t offset = 0;
  return ReadNpyHeader([&](absl::Span<uint8_t> out) {
    if (out.size() > file.size() - offset) {
      return absl::DataLossError("end of file");
    }
    std::memcpy(out.data(), file.data() + offset, out.size());
    offset += out.size();
    return absl::OkStatus();
  });
}

TEST(NpyTest, ReadsHeadersOfAllVersions) {
  const std::string dict =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";
  for (const uint8_t version : {1, 2, 3}) {
    ByteWriter out;
    out.Raw(AsBytes("\x93NUMPY")).U8(version).U8(0);
    // From version 2 on the length of the text has four bytes.
    const uint8_t length = static_cast<uint8_t>(dict.size());
    version == 1 ? out.U8(length).U8(0) : out.U32(length);
    const Bytes file = out.Raw(AsBytes(dict)).bytes();
    const auto header = Parse(file);
    ASSERT_THAT(header, IsOk());
    EXPECT_EQ(header->ToString(), "float32 (2, 3)");
    EXPECT_EQ(header->header_bytes, file.size());
    EXPECT_EQ(header->data_bytes, 24u);
    EXPECT_EQ(header->row_bytes(), 12u);
  }
}

TEST(NpyTest, ReadsEveryNumberType) {
  const std::vector<std::pair<std::string, std::string>> types = {
      {"|u1", "uint8 (4)"}, {"|i1", "int8 (4)"},   {"<u2", "uint16 (4)"},
      {"<i4", "int32 (4)"}, {"<i8", "int64 (4)"},  {"<f8", "float64 (4)"},
      {"|b1", "bool (4)"},  {"<u8", "uint64 (4)"}, {"<f2", "float16 (4)"}};
  for (const auto& [descr, expected] : types) {
    const auto header = Parse(Npy(descr, "(4,)", {}));
    ASSERT_THAT(header, IsOk());
    EXPECT_EQ(header->ToString(), expected);
  }
  const auto scalar = Parse(Npy("<f4", "()", {}));
  ASSERT_THAT(scalar, IsOk());
  EXPECT_TRUE(scalar->shape.empty());
  EXPECT_EQ(scalar->data_bytes, 4u);
}

TEST(NpyTest, RefusesWhatItShouldNotRead) {
  const auto dict = [](const std::string& text) {
    return NpyWithHeader(text, {});
  };
  struct Case {
    std::string message;
    Bytes file;
  };
  const std::string shape = "'fortran_order': False, 'shape': (2,)";
  Bytes no_magic = Npy("|u1", "(2,)", {});
  no_magic[0] = 'x';
  Bytes version = Npy("|u1", "(2,)", {});
  version[6] = 4;
  Bytes long_header = Npy("|u1", "(2,)", {});
  long_header[6] = 2;
  std::fill(long_header.begin() + 8, long_header.begin() + 12, 0xFF);
  const std::vector<Case> cases = {
      {"magic", no_magic},
      {"version 1 to 3, found 4", version},
      {"at most 65536 bytes", long_header},
      {"object arrays are refused", Npy("|O", "(2,)", {})},
      {"found a structure", dict("{'descr': [('a', '<f4')], " + shape + "}")},
      {"found type \"<U10\"", Npy("<U10", "(2,)", {})},
      {"found type \">f4\"", Npy(">f4", "(2,)", {})},
      {"found type \"|f4\"", Npy("|f4", "(2,)", {})},
      {"found type \"<c8\"", Npy("<c8", "(2,)", {})},
      {"found type \"<u3\"", Npy("<u3", "(2,)", {})},
      {"Fortran order",
       dict("{'descr': '|u1', 'fortran_order': True, 'shape': (2,)}")},
      {"too large", Npy("|u1", "(4611686018427387904, 2)", {})},
      {"too large", Npy("<f8", "(65536, 65536, 65536, 65536)", {})},
      {"too large", Npy("<f8", "(0, 4294967296, 4294967296)", {})},
      {"expected {'descr'", Npy("|u1", "(99999999999999999999,)", {})},
      {"expected {'descr'", Npy("|u1", "(-1,)", {})},
      {"expected {'descr'", Npy("|u1", "(3)", {})},
      {"expected {'descr'", Npy("|u1", "(3,,)", {})},
      {"expected {'descr'", Npy("|u1", "(1,1,1,1,1,1,1,1,1)", {})},
      {"expected {'descr'", dict("{'descr': '|u1', " + shape + "} extra")},
      {"expected {'descr'",
       dict("{'descr': '|u1', 'descr': '|u1', " + shape + "}")},
      {"expected {'descr'", dict("{'descr': '|u1', 'x': 1, " + shape + "}")},
      {"expected {'descr'", dict("{'descr': '|u1'}")},
      {"expected {'descr'", dict("{'descr")},
      {"expected {'descr'", dict("")},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Parse(c.file),
                IsError(absl::StatusCode::kInvalidArgument, c.message));
  }
}

TEST(NpyTest, EveryTruncationOfTheHeadIsAnError) {
  const Bytes file = Npy("|u1", "(2, 3)", {});
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_THAT(Parse(Bytes(file.begin(), file.begin() + size)),
                HasCode(absl::StatusCode::kDataLoss))
        << size;
  }
}

TEST(NpyTest, IntegersKeepTheirSign) {
  const auto at = [](const std::string& descr, const Bytes& data, size_t i) {
    return NpyInteger(*Parse(Npy(descr, "(2,)", {})), data, i);
  };
  EXPECT_EQ(at("|i1", Raw<int8_t>({1, -1}), 1), -1);
  EXPECT_EQ(at("|u1", Raw<int8_t>({1, -1}), 1), 255);
  EXPECT_EQ(at("<i2", Raw<int16_t>({-300, 300}), 0), -300);
  EXPECT_EQ(at("<u4", Raw<uint32_t>({0, 4000000000u}), 1), 4000000000);
  EXPECT_EQ(at("<i8", Raw<int64_t>({-5, 0}), 0), -5);
  EXPECT_EQ(at("|b1", Bytes{0, 1}, 1), 1);
  EXPECT_EQ(at("<u8", Raw<uint64_t>({UINT64_MAX, 0}), 0),
            std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace fedgraft
