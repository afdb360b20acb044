#include "common/model/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

constexpr uint64_t kHeaderBytesMax = uint64_t{100} << 20;
constexpr size_t kTensorsMax = 100'000;
constexpr size_t kRankMax = 16;
constexpr size_t kQuotedMax = 96;
constexpr char kMetadata[] = "__metadata__";

// For messages: names come from the file.
std::string Quote(const std::string& text) {
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kQuotedMax)),
                      text.size() > kQuotedMax ? "…\"" : "\"");
}

std::optional<DType> DTypeOf(const std::string& word) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI64}) {
    if (word == DTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

// One tensor as the header describes it.
struct RawTensor {
  std::optional<DType> dtype;
  std::optional<std::vector<uint64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

// Receives the JSON events of a header; every callback returns false, with
// error() set, at the first thing that no safetensors header contains.
class HeaderReader {
 public:
  using json = nlohmann::json;
  std::map<std::string, RawTensor> tensors;
  std::map<std::string, std::string> metadata;
  const std::string& error() const { return error_; }

  bool start_object(size_t) {
    if (state_ == State::kStart) {
      state_ = State::kFile;
    } else if (state_ == State::kFile && !key_.empty()) {
      state_ = key_ == kMetadata ? State::kMetadata : State::kTensor;
      field_.clear();
    } else {
      return Fail("an object where none belongs");
    }
    return true;
  }
  bool end_object() {
    if (state_ == State::kFile) {
      state_ = State::kEnd;
    } else {
      state_ = State::kFile;
      key_.clear();
    }
    return true;
  }
  bool key(std::string& name) {
    if (state_ == State::kFile) {
      if (name.empty()) return Fail("an empty tensor name");
      if (!seen_.insert(name).second) {
        return Fail(absl::StrCat(Quote(name), " appears twice"));
      }
      if (seen_.size() > kTensorsMax) return Fail("too many tensors");
      key_ = name;
      if (name != kMetadata) tensors[name];
      return true;
    }
    field_ = name;
    if (state_ == State::kMetadata) {
      if (!metadata.emplace(name, "").second) {
        return Fail(absl::StrCat("metadata ", Quote(name), " appears twice"));
      }
      return true;
    }
    const RawTensor& tensor = tensors[key_];
    if ((name == "dtype" && !tensor.dtype.has_value()) ||
        (name == "shape" && !tensor.shape.has_value()) ||
        (name == "data_offsets" && !tensor.offsets.has_value())) {
      return true;
    }
    return Fail(absl::StrCat("tensor ", Quote(key_),
                             " has an unknown or repeated field ",
                             Quote(name)));
  }
  bool string(std::string& text) {
    if (state_ == State::kMetadata) {
      metadata[field_] = text;
      return true;
    }
    if (state_ != State::kTensor || field_ != "dtype") return Misplaced();
    tensors[key_].dtype = DTypeOf(text);
    if (!tensors[key_].dtype.has_value()) {
      return Fail(absl::StrCat("tensor ", Quote(key_), " has dtype ",
                               Quote(text), ", not F32, F16, BF16 or I64"));
    }
    return true;
  }
  bool start_array(size_t) {
    if (state_ != State::kTensor || field_ == "dtype") return Misplaced();
    state_ = State::kNumbers;
    Numbers().emplace();
    return true;
  }
  bool end_array() {
    state_ = State::kTensor;
    return true;
  }
  bool number_unsigned(uint64_t number) {
    if (state_ != State::kNumbers) return Misplaced();
    if (Numbers()->size() >= kRankMax) {
      return Fail(absl::StrCat("tensor ", Quote(key_), " has a ", field_,
                               " of more than ", kRankMax, " numbers"));
    }
    Numbers()->push_back(number);
    return true;
  }
  bool number_integer(int64_t) { return Misplaced(); }  // negative only
  bool number_float(double, const std::string&) { return Misplaced(); }
  bool boolean(bool) { return Misplaced(); }
  bool null() { return Misplaced(); }
  bool binary(json::binary_t&) { return Misplaced(); }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) {
    return Fail(absl::StrCat("not JSON at byte ", position));
  }

 private:
  enum class State { kStart, kFile, kMetadata, kTensor, kNumbers, kEnd };

  std::optional<std::vector<uint64_t>>& Numbers() {
    RawTensor& tensor = tensors[key_];
    return field_ == "shape" ? tensor.shape : tensor.offsets;
  }
  bool Misplaced() {
    return Fail(key_.empty() ? "a value where a tensor belongs"
                             : absl::StrCat("a value of the wrong type in ",
                                            Quote(key_), " ", Quote(field_)));
  }
  bool Fail(std::string what) {
    error_ = std::move(what);
    return false;
  }

  State state_ = State::kStart;
  std::string key_, field_, error_;
  std::set<std::string> seen_;
};

// Turns one raw tensor into a view, or says what is wrong with it.
absl::StatusOr<TensorView> ViewOf(const RawTensor& raw, ByteSpan data) {
  if (!raw.dtype.has_value() || !raw.shape.has_value() ||
      !raw.offsets.has_value() || raw.offsets->size() != 2) {
    return absl::InvalidArgumentError(
        "needs dtype, shape and two data_offsets");
  }
  const uint64_t begin = (*raw.offsets)[0];
  const uint64_t end = (*raw.offsets)[1];
  if (begin > end || end > data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("has offsets ", begin, " to ", end, ", but there are ",
                     data.size(), " bytes of data"));
  }
  TensorView view;
  view.dtype = *raw.dtype;
  // A product above the file's own size is wrong whatever it is.
  uint64_t bytes = DTypeSize(view.dtype);
  bool is_too_large = false;
  for (uint64_t side : *raw.shape) {
    is_too_large |= side > uint64_t(std::numeric_limits<int64_t>::max());
    is_too_large |= side != 0 && bytes > (uint64_t{1} << 62) / side;
    if (is_too_large) break;
    bytes *= side;
    view.shape.push_back(static_cast<int64_t>(side));
  }
  if (is_too_large || bytes != end - begin) {
    return absl::InvalidArgumentError(
        absl::StrCat("has shape [", absl::StrJoin(*raw.shape, ", "), "] of ",
                     DTypeName(view.dtype), ", which does not fit its ",
                     end - begin, " bytes"));
  }
  view.data = data.subspan(begin, end - begin);
  return view;
}

// Every byte of data belongs to exactly one tensor.
absl::Status CheckCoverage(const std::map<std::string, TensorView>& tensors,
                           ByteSpan data) {
  std::vector<std::pair<ByteSpan, const std::string*>> parts;
  for (const auto& [name, view] : tensors) {
    parts.emplace_back(view.data, &name);
  }
  // Empty tensors sort before one that starts at the same byte.
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.data(), a.first.size()) <
           std::pair(b.first.data(), b.first.size());
  });
  const uint8_t* next = data.data();
  for (const auto& [part, name] : parts) {
    if (part.data() < next) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quote(*name), " overlaps the one before it"));
    }
    if (part.data() > next) {
      return absl::InvalidArgumentError(absl::StrCat(
          part.data() - next, " unused bytes before tensor ", Quote(*name)));
    }
    next += part.size();
  }
  const size_t rest = data.size() - static_cast<size_t>(next - data.data());
  if (rest == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(rest, " bytes after the last tensor"));
}

absl::StatusOr<SafetensorsHeader> ParseChecked(ByteSpan content) {
  if (content.size() < 8) {
    return absl::InvalidArgumentError(absl::StrCat(
        "truncated: ", content.size(), " bytes, the header's size needs 8"));
  }
  uint64_t header_bytes = 0;
  for (int i = 0; i < 8; ++i) {
    header_bytes |= uint64_t{content[i]} << (8 * i);
  }
  if (header_bytes > kHeaderBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a header of ", header_bytes,
                     " bytes; at most 100 MiB are allowed. Is this a "
                     "safetensors file?"));
  }
  if (header_bytes > content.size() - 8) {
    return absl::InvalidArgumentError(absl::StrCat(
        "truncated: the header has ", header_bytes, " bytes, the file ",
        content.size() - 8, " after its size"));
  }
  const ByteSpan header = content.subspan(8, header_bytes);
  const ByteSpan data = content.subspan(8 + header_bytes);
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &reader)) {
    return absl::InvalidArgumentError(absl::StrCat("header: ", reader.error()));
  }
  SafetensorsHeader result;
  result.metadata = std::move(reader.metadata);
  for (const auto& [name, raw] : reader.tensors) {
    auto view = ViewOf(raw, data);
    if (!view.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Quote(name), " ", view.status().message()));
    }
    result.tensors.emplace(name, *std::move(view));
  }
  FG_RETURN_IF_ERROR(CheckCoverage(result.tensors, data));
  return result;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    ByteSpan content, absl::string_view file) {
  auto header = ParseChecked(content);
  if (header.ok()) return header;
  return Annotate(header.status(), absl::StrCat("safetensors file ", file));
}

size_t DTypeSize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI64:
      return 8;
  }
  return 0;
}

const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
  }
  return "";
}

}  // namespace fedgraft
