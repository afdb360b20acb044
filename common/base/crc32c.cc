#include "common/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace fedgraft {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected
constexpr size_t kLanes = 8;
using Tables = std::array<std::array<uint32_t, 256>, kLanes>;

// tables[k][b]: the CRC of byte b followed by k zero bytes.
constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (size_t lane = 1; lane < kLanes; ++lane) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t crc = tables[lane - 1][byte];
      tables[lane][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

#if defined(__x86_64__)
// Three lanes at a time hide the instruction's latency.
constexpr size_t kLaneBytes = 1024;
using Shift = std::array<std::array<uint32_t, 256>, sizeof(uint32_t)>;

// shift[k][b]: what byte k of a CRC, if it is b, has become kLaneBytes zero
// bytes later.
constexpr Shift MakeShift() {
  Shift shift{};
  for (size_t byte = 0; byte < sizeof(uint32_t); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      uint32_t crc = uint32_t{1} << (8 * byte + bit);
      for (size_t zero = 0; zero < kLaneBytes; ++zero) {
        crc = (crc >> 8) ^ kTables[0][crc & 0xff];
      }
      shift[byte][size_t{1} << bit] = crc;
    }
    for (size_t value = 1; value < 256; ++value) {
      const size_t rest = value & (value - 1);
      shift[byte][value] = shift[byte][rest] ^ shift[byte][value ^ rest];
    }
  }
  return shift;
}

constexpr Shift kShift = MakeShift();

uint32_t ShiftByLane(uint64_t crc) {
  return kShift[0][crc & 0xff] ^ kShift[1][crc >> 8 & 0xff] ^
         kShift[2][crc >> 16 & 0xff] ^ kShift[3][crc >> 24 & 0xff];
}

uint64_t WordAt(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, sizeof(word));
  return word;
}

// The processor's own instruction, several times as fast as the tables.
__attribute__((target("sse4.2"))) uint32_t CrcInHardware(const uint8_t* data,
                                                         size_t left,
                                                         uint32_t crc) {
  uint64_t wide = crc;
  for (; left >= 3 * kLaneBytes;
       data += 3 * kLaneBytes, left -= 3 * kLaneBytes) {
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < kLaneBytes; i += sizeof(uint64_t)) {
      wide = _mm_crc32_u64(wide, WordAt(data + i));
      second = _mm_crc32_u64(second, WordAt(data + kLaneBytes + i));
      third = _mm_crc32_u64(third, WordAt(data + 2 * kLaneBytes + i));
    }
    second ^= ShiftByLane(wide);
    wide = third ^ ShiftByLane(second);
  }
  for (; left >= sizeof(uint64_t);
       data += sizeof(uint64_t), left -= sizeof(uint64_t)) {
    wide = _mm_crc32_u64(wide, WordAt(data));
  }
  crc = static_cast<uint32_t>(wide);
  for (; left > 0; ++data, --left) crc = _mm_crc32_u8(crc, *data);
  return crc;
}
bool HasHardware() {
  static const bool has = __builtin_cpu_supports("sse4.2") != 0;
  return has;
}
#endif

}  // namespace

uint32_t Crc32c(ByteSpan bytes, uint32_t crc) {
#if defined(__x86_64__)
  if (HasHardware()) return ~CrcInHardware(bytes.data(), bytes.size(), ~crc);
#endif
  return Crc32cByTables(bytes, crc);
}

uint32_t Crc32cByTables(ByteSpan bytes, uint32_t crc) {
  crc = ~crc;
  const uint8_t* data = bytes.data();
  size_t left = bytes.size();
  // Eight bytes per step ("slicing by 8").
  for (; left >= kLanes; data += kLanes, left -= kLanes) {
    const uint32_t first =
        crc ^ (uint32_t{data[0]} | uint32_t{data[1]} << 8 |
               uint32_t{data[2]} << 16 | uint32_t{data[3]} << 24);
    crc = kTables[7][first & 0xff] ^ kTables[6][(first >> 8) & 0xff] ^
          kTables[5][(first >> 16) & 0xff] ^ kTables[4][first >> 24] ^
          kTables[3][data[4]] ^ kTables[2][data[5]] ^ kTables[1][data[6]] ^
          kTables[0][data[7]];
  }
  for (; left > 0; ++data, --left) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ *data) & 0xff];
  }
  return ~crc;
}

}  // namespace fedgraft
