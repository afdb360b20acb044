#include "client/data/npy.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kHeaderTextMax = 64 * 1024;
constexpr size_t kDimensionsMax = 8;
constexpr uint64_t kBytesMax = uint64_t{1} << 62;

absl::Status Broken(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("NPY header: ", what));
}

std::string Printable(std::string_view text) {
  return absl::StrCat("\"", absl::CHexEscape(std::string(text.substr(0, 40))),
                      "\"");
}

// Reads the literal {'descr': '<f4', 'fortran_order': False, 'shape': (3,), }
// which is all that NumPy writes. Every method returns false where the text
// is something else.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : rest_(text) {}

  bool Take(char c) {
    SkipSpace();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeString(std::string_view& out) {
    SkipSpace();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) return false;
    const size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) return false;
    out = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }
  bool TakeBool(bool& out) {
    SkipSpace();
    for (const std::string_view word : {"True", "False"}) {
      if (!rest_.starts_with(word)) continue;
      out = word == "True";
      rest_.remove_prefix(word.size());
      return true;
    }
    return false;
  }
  bool TakeShape(std::vector<uint64_t>& out) {
    if (!Take('(')) return false;
    while (!Take(')')) {
      uint64_t value = 0;
      if (out.size() == kDimensionsMax || !TakeNumber(value)) return false;
      out.push_back(value);
      if (Take(',')) continue;
      // "(3)" is a number in Python, not a shape.
      return out.size() > 1 && Take(')');
    }
    return true;
  }
  bool AtEnd() {
    SkipSpace();
    return rest_.empty();
  }

 private:
  void SkipSpace() {
    while (!rest_.empty() && absl::ascii_isspace(rest_[0])) {
      rest_.remove_prefix(1);
    }
  }
  bool TakeNumber(uint64_t& out) {
    SkipSpace();
    size_t digits = 0;
    while (digits < rest_.size() && absl::ascii_isdigit(rest_[digits])) {
      const uint64_t digit = static_cast<uint64_t>(rest_[digits] - '0');
      if (out > (kBytesMax - digit) / 10) return false;
      out = out * 10 + digit;
      ++digits;
    }
    rest_.remove_prefix(digits);
    return digits > 0;
  }

  std::string_view rest_;
};

struct Dict {
  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<uint64_t>> shape;
};

absl::StatusOr<Dict> ParseDict(std::string_view text) {
  const absl::Status unreadable = Broken(absl::StrCat(
      "expected {'descr': ..., 'fortran_order': ..., 'shape': ...}, found ",
      Printable(text)));
  DictReader reader(text);
  Dict dict;
  if (!reader.Take('{')) return unreadable;
  while (!reader.Take('}')) {
    std::string_view key;
    if (!reader.TakeString(key) || !reader.Take(':')) return unreadable;
    if (key == "descr" && !dict.descr) {
      std::string_view value;
      if (!reader.TakeString(value)) {
        return Broken("expected a plain number type, found a structure");
      }
      dict.descr = value;
    } else if (key == "fortran_order" && !dict.fortran_order) {
      bool value = false;
      if (!reader.TakeBool(value)) return unreadable;
      dict.fortran_order = value;
    } else if (key == "shape" && !dict.shape) {
      std::vector<uint64_t> value;
      if (!reader.TakeShape(value)) return unreadable;
      dict.shape = std::move(value);
    } else {
      return unreadable;
    }
    if (reader.Take(',')) continue;
    if (!reader.Take('}')) return unreadable;
    break;
  }
  if (!reader.AtEnd() || !dict.descr || !dict.fortran_order || !dict.shape) {
    return unreadable;
  }
  return dict;
}

// "<u2" -> kind 'u', 2 bytes.
absl::Status ParseType(std::string_view descr, NpyHeader& header) {
  if (descr == "|O" || descr == "O") {
    return Broken("object arrays are refused: loading them would run code");
  }
  const absl::Status unknown = Broken(
      absl::StrCat("expected little-endian integers or floats, found type ",
                   Printable(descr)));
  if (descr.size() != 3) return unknown;
  const char order = descr[0];
  header.kind = descr[1];
  header.item_bytes = descr[2] - '0';
  const int size = header.item_bytes;
  const bool integer = (header.kind == 'u' || header.kind == 'i') &&
                       (size == 1 || size == 2 || size == 4 || size == 8);
  const bool floating =
      header.kind == 'f' && (size == 2 || size == 4 || size == 8);
  const bool boolean = header.kind == 'b' && size == 1;
  if (!integer && !floating && !boolean) return unknown;
  if (order != '<' && !(order == '|' && size == 1)) return unknown;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadDictText(const ReadBytes& read,
                                         NpyHeader& header) {
  uint8_t start[8];
  FG_RETURN_IF_ERROR(read(absl::MakeSpan(start)));
  if (std::memcmp(start, "\x93NUMPY", 6) != 0) {
    return Broken("expected the magic \\x93NUMPY: this is not an array file");
  }
  const int version = start[6];
  if (version < 1 || version > 3) {
    return Broken(absl::StrCat("expected version 1 to 3, found ", version));
  }
  uint8_t length_bytes[4] = {};
  const size_t length_size = version == 1 ? 2 : 4;
  FG_RETURN_IF_ERROR(read(absl::MakeSpan(length_bytes, length_size)));
  size_t length = 0;
  for (size_t i = 0; i < length_size; ++i) {
    length |= static_cast<size_t>(length_bytes[i]) << (8 * i);
  }
  if (length > kHeaderTextMax) {
    return Broken(absl::StrCat("expected at most ", kHeaderTextMax,
                               " bytes, found ", length));
  }
  std::string text(length, '\0');
  FG_RETURN_IF_ERROR(read(
      absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  header.header_bytes = sizeof(start) + length_size + length;
  return text;
}

}  // namespace

std::string NpyHeader::ToString() const {
  const std::string_view name = kind == 'b'   ? "bool"
                                : kind == 'u' ? "uint"
                                : kind == 'i' ? "int"
                                              : "float";
  return absl::StrCat(std::string(name),
                      kind == 'b' ? "" : absl::StrCat(8 * item_bytes), " (",
                      absl::StrJoin(shape, ", "), ")");
}

uint64_t NpyHeader::row_bytes() const {
  FG_CHECK(!shape.empty());
  uint64_t bytes = static_cast<uint64_t>(item_bytes);
  for (size_t d = 1; d < shape.size(); ++d) bytes *= shape[d];
  return bytes;
}

absl::StatusOr<NpyHeader> ReadNpyHeader(const ReadBytes& read) {
  NpyHeader header;
  FG_ASSIGN_OR_RETURN(const std::string text, ReadDictText(read, header));
  FG_ASSIGN_OR_RETURN(Dict dict, ParseDict(text));
  FG_RETURN_IF_ERROR(ParseType(*dict.descr, header));
  if (*dict.fortran_order) {
    return Broken("expected C order, found Fortran order");
  }
  header.shape = *std::move(dict.shape);
  // A zero must not hide an overflow of the others, from which row_bytes() is
  // computed.
  uint64_t bytes = static_cast<uint64_t>(header.item_bytes);
  bool empty = false;
  for (const uint64_t dimension : header.shape) {
    empty |= dimension == 0;
    const uint64_t factor = std::max<uint64_t>(dimension, 1);
    if (bytes > kBytesMax / factor) {
      return Broken(
          absl::StrCat("the shape ", header.ToString(), " is too large"));
    }
    bytes *= factor;
  }
  header.data_bytes = empty ? 0 : bytes;
  return header;
}

int64_t NpyInteger(const NpyHeader& header, absl::Span<const uint8_t> data,
                   size_t index) {
  const size_t size = static_cast<size_t>(header.item_bytes);
  FG_CHECK(header.kind != 'f' && (index + 1) * size <= data.size());
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value |= static_cast<uint64_t>(data[index * size + i]) << (8 * i);
  }
  if (header.kind == 'i') {
    const int unused_bits = 64 - 8 * header.item_bytes;
    return static_cast<int64_t>(value << unused_bits) >> unused_bits;
  }
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min<uint64_t>(value, kMax));
}

}  // namespace fedgraft
