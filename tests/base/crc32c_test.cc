#include "common/base/crc32c.h"

#include <numeric>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

// RFC 3720, appendix B.4, and the usual check value of "123456789".
TEST(Crc32cTest, MatchesPublishedValues) {
  Bytes ascending(32);
  std::iota(ascending.begin(), ascending.end(), uint8_t{0});
  const Bytes descending(ascending.rbegin(), ascending.rend());
  for (const auto crc : {&Crc32c, &Crc32cByTables}) {
    EXPECT_EQ(crc(Bytes(32, 0x00), 0), 0x8a9136aau);
    EXPECT_EQ(crc(Bytes(32, 0xff), 0), 0x62a8ab43u);
    EXPECT_EQ(crc(ascending, 0), 0x46dd794eu);
    EXPECT_EQ(crc(descending, 0), 0x113fdb5cu);
    EXPECT_EQ(crc(AsBytes("123456789"), 0), 0xe3069283u);
    EXPECT_EQ(crc({}, 0), 0u);
  }
}

TEST(Crc32cTest, PiecesJoin) {
  Bytes bytes(100);
  std::iota(bytes.begin(), bytes.end(), uint8_t{7});
  const ByteSpan all(bytes);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(Crc32c(all.subspan(cut), Crc32c(all.first(cut))), Crc32c(all));
    EXPECT_EQ(Crc32cByTables(all.subspan(cut), Crc32c(all.first(cut))),
              Crc32c(all));
  }
}

// The lanes of the quick way against the tables, at sizes about their edges.
TEST(Crc32cTest, AgreesWithTheTablesAtAnySize) {
  Bytes bytes(3 * 3072 + 100);
  uint64_t state = 1;
  for (uint8_t& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<uint8_t>(state >> 56);
  }
  for (const size_t edge : {3072, 6144, 9216}) {
    for (size_t size = edge - 9; size <= edge + 9; ++size) {
      const ByteSpan some = ByteSpan(bytes).subspan(size % 7, size);
      EXPECT_EQ(Crc32c(some, 0x1234), Crc32cByTables(some, 0x1234)) << size;
    }
  }
}

}  // namespace
}  // namespace fedgraft
