#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace fedgraft::fuzz {
namespace {

constexpr size_t kPieceBytesMax = 64;

// They reach deep checks more often than chance does.
constexpr std::string_view kWords[] = {
    "18446744073709551615",
    "9223372036854775808",
    "4294967296",
    "-1",
    "0",
    "1e999",
    ".nan",
    "null",
    "true",
    "[[[[[[[[",
    "{\"\":",
    "{a: ",
    "&a",
    "*a",
    "<<: ",
    "!!binary ",
    "\"",
    "\\u0000",
    "\\ud800",
    "\n",
    "\r\n",
    "\t",
    "\xff\xfe",
    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "\xff\xff\xff\x7f",
    std::string_view("\0\0\0\0\0\0\0\0", 8),
    "-----END CERTIFICATE-----\n",
    "-----BEGIN CERTIFICATE-----\n"};

// Not std::uniform_int_distribution, which differs between libraries.
size_t Below(std::mt19937& random, size_t bound) {
  return bound == 0 ? 0 : random() % bound;
}

ByteSpan Piece(std::mt19937& random, const Bytes& bytes) {
  const size_t at = Below(random, bytes.size());
  const size_t size =
      std::min<size_t>(1 + Below(random, kPieceBytesMax), bytes.size() - at);
  return ByteSpan(bytes).subspan(at, size);
}

void Insert(std::mt19937& random, ByteSpan piece, Bytes& bytes) {
  const Bytes copy = ToBytes(piece);  // it may lie in `bytes`
  const auto at = static_cast<ptrdiff_t>(Below(random, bytes.size() + 1));
  bytes.insert(bytes.begin() + at, copy.begin(), copy.end());
}

void Cut(std::mt19937& random, Bytes& bytes) {
  const auto at = static_cast<ptrdiff_t>(Below(random, bytes.size()));
  const auto size = static_cast<ptrdiff_t>(1 + Below(random, kPieceBytesMax));
  const auto begin = bytes.begin() + at;
  bytes.erase(begin, begin + std::min(size, bytes.end() - begin));
}

void Change(std::mt19937& random, const Bytes& other, Bytes& bytes) {
  const size_t at = Below(random, bytes.size());
  switch (Below(random, 8)) {
    case 0:
      if (!bytes.empty()) bytes[at] ^= uint8_t(1u << Below(random, 8));
      break;
    case 1:
      if (!bytes.empty()) bytes[at] = static_cast<uint8_t>(random());
      break;
    case 2:
      // Sizes and counts that are off by one.
      if (!bytes.empty()) bytes[at] += Below(random, 2) == 0 ? 1 : 0xff;
      break;
    case 3:
      Cut(random, bytes);
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5:
      Insert(random, Piece(random, bytes), bytes);
      break;
    case 6:
      Insert(random, Piece(random, other), bytes);
      break;
    default:
      Insert(random, AsBytes(kWords[Below(random, std::size(kWords))]), bytes);
  }
}

}  // namespace

Bytes Mutate(std::mt19937& random, Bytes seed, const Bytes& other) {
  for (size_t n = 1 + Below(random, 4); n > 0; --n) {
    Change(random, other, seed);
  }
  return seed;
}

}  // namespace fedgraft::fuzz
