#include "common/config/field_check.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kQuotedMax = 60;
constexpr int kElementsMax = 10'000;
constexpr size_t kTextBytesMax = 4096;

std::string NumberText(double value) {
  if (std::abs(value) < 1e15 && value == std::floor(value)) {
    return absl::StrCat(static_cast<int64_t>(value));
  }
  return absl::StrCat(value);
}

std::string BoundsText(const pb::FieldCheck& check) {
  std::string text;
  if (check.has_min()) {
    absl::StrAppend(&text, check.min_exclusive() ? " above " : " from ",
                    NumberText(check.min()));
  }
  if (check.has_max()) absl::StrAppend(&text, " to ", NumberText(check.max()));
  return text;
}

bool IsWithin(const pb::FieldCheck& check, double value) {
  if (!std::isfinite(value)) return false;
  if (check.has_max() && !(value <= check.max())) return false;
  if (!check.has_min()) return true;
  return check.min_exclusive() ? value > check.min() : value >= check.min();
}

std::string QuoteText(const std::string& text) {
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kQuotedMax)),
                      text.size() > kQuotedMax ? "…\"" : "\"");
}

// Printable, as far as bytes tell: no control characters, valid UTF-8.
bool IsCleanText(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x20 || lead == 0x7f) return false;
    const size_t size = lead < 0x80             ? 1
                        : (lead & 0xe0) == 0xc0 ? 2
                        : (lead & 0xf0) == 0xe0 ? 3
                        : (lead & 0xf8) == 0xf0 ? 4
                                                : 0;
    if (size == 0 || i + size > text.size()) return false;
    uint32_t point = size == 1 ? lead : lead & (0xff >> (size + 1));
    for (size_t k = 1; k < size; ++k) {
      const unsigned char next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    constexpr uint32_t kFirst[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kFirst[size] || point > 0x10ffff ||
        (point >= 0xd800 && point < 0xe000)) {
      return false;
    }
    i += size;
  }
  return true;
}

bool IsDuration(const std::string& text) {
  absl::Duration duration;
  return absl::ParseDuration(text, &duration) && duration >= kDurationMin &&
         duration <= kDurationMax;
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

bool IsAllowed(const pb::FieldCheck& check, const std::string& text) {
  return check.allowed().empty() ||
         std::find(check.allowed().begin(), check.allowed().end(), text) !=
             check.allowed().end();
}

// Whether `text` may be the value (or, of a list, an element) of `field`.
bool IsGoodText(const FieldDescriptor* field, const std::string& text) {
  const pb::FieldCheck& check = CheckOf(field);
  if (text.size() > kTextBytesMax || !IsCleanText(text)) return false;
  if (text.empty() && !field->is_repeated() && !check.required() &&
      check.default_().empty()) {
    return true;  // left out
  }
  if (text.empty() && (check.required() || field->is_repeated())) return false;
  if (!field->is_repeated() &&
      !IsWithin(check, static_cast<double>(text.size()))) {
    return false;
  }
  return IsAllowed(check, text) && (!check.duration() || IsDuration(text)) &&
         (!check.sha256() || IsSha256(text));
}

std::string TextProblem(const FieldDescriptor* field, const std::string& text) {
  std::string problem = absl::StrCat("found ", QuoteText(text), "; expected ",
                                     Expectation(field));
  const auto& allowed = CheckOf(field).allowed();
  if (const auto nearest = Nearest(text, {allowed.begin(), allowed.end()})) {
    absl::StrAppend(&problem, "; did you mean \"", *nearest, "\"?");
  }
  return problem;
}

double NumberOf(const Message& message, const FieldDescriptor* field,
                int index) {
  const auto* reflection = message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? reflection->GetInt32(message, field)
                 : reflection->GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(
          one ? reflection->GetInt64(message, field)
              : reflection->GetRepeatedInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return static_cast<double>(
          one ? reflection->GetUInt64(message, field)
              : reflection->GetRepeatedUInt64(message, field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? reflection->GetDouble(message, field)
                 : reflection->GetRepeatedDouble(message, field, index);
    default:
      break;
  }
  FG_CHECK(false && "a field type that the config reader does not know");
  return 0;
}

}  // namespace

bool CheckSize(const Message& message, const FieldDescriptor* field,
               const std::string& key_path, ConfigErrors& errors) {
  const int size = message.GetReflection()->FieldSize(message, field);
  if (size <= kElementsMax && IsWithin(CheckOf(field), size) &&
      !(CheckOf(field).required() && size == 0)) {
    return true;
  }
  errors.Add(key_path, absl::StrCat("found a list of ", size, "; expected ",
                                    Expectation(field)));
  return false;
}

namespace {

void CheckElements(const Message& message, const FieldDescriptor* field,
                   const std::string& key_path, ConfigErrors& errors) {
  if (!CheckSize(message, field, key_path, errors)) return;
  const auto* reflection = message.GetReflection();
  const int size = reflection->FieldSize(message, field);
  for (int i = 0; i < size; ++i) {
    const std::string path = absl::StrCat(key_path, "[", i, "]");
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      const double number = NumberOf(message, field, i);
      if (!std::isfinite(number)) {
        errors.Add(
            path, absl::StrCat("found ", number, "; expected a finite number"));
      }
      continue;
    }
    const std::string text = reflection->GetRepeatedString(message, field, i);
    if (!IsGoodText(field, text)) {
      errors.Add(path, absl::StrCat("found ", QuoteText(text),
                                    "; expected text without control "
                                    "characters"));
    }
  }
}

}  // namespace

const pb::FieldCheck& CheckOf(const FieldDescriptor* field) {
  return field->options().GetExtension(pb::check);
}

namespace {
std::string KeysOf(const FieldDescriptor* field) {
  std::vector<std::string> keys;
  for (int i = 0; i < field->message_type()->field_count(); ++i) {
    keys.push_back(field->message_type()->field(i)->name());
  }
  return absl::StrJoin(keys, ", ");
}
}  // namespace

std::string Expectation(const FieldDescriptor* field) {
  const pb::FieldCheck& check = CheckOf(field);
  const bool is_text = field->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
  if (field->is_repeated()) {
    return absl::StrCat("a list of ",
                        check.has_min()   ? NumberText(check.min()) + " to "
                        : check.has_max() ? "up to "
                                          : "",
                        check.has_max() ? NumberText(check.max()) + " " : "",
                        is_text ? "texts"
                        : field->message_type() != nullptr
                            ? "maps with the keys " + KeysOf(field)
                            : "numbers");
  }
  if (!check.allowed().empty()) {
    return absl::StrCat("one of ", absl::StrJoin(check.allowed(), ", "));
  }
  if (check.duration()) {
    return "a duration from 1ms to 720h, such as 500ms, 30s, 10m or 2h";
  }
  if (check.sha256()) return "64 hexadecimal digits (a SHA-256 value)";
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (check.path()) return "a path";
      return absl::StrCat(
          "text without control characters",
          check.has_max() ? absl::StrCat(", ", NumberText(check.min()), " to ",
                                         NumberText(check.max()), " bytes")
                          : "");
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat("a number", BoundsText(check));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat("a whole number",
                          check.has_min() ? BoundsText(check) : " from 0");
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return absl::StrCat("a map with the keys ", KeysOf(field));
    default:
      return absl::StrCat("a whole number", BoundsText(check));
  }
}

std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& names) {
  constexpr size_t kWordMax = 64;
  if (word.empty() || word.size() > kWordMax) return std::nullopt;
  // Two slips (or one swap) in a word, three in a long one, one in a tiny one.
  size_t best =
      1 + (word.size() < 3 ? 1 : std::clamp<size_t>(word.size() / 3, 2, 3));
  std::optional<std::string> nearest;
  for (const std::string& name : names) {
    // Levenshtein's distance, one row at a time.
    std::vector<size_t> row(name.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t k = 0; k < name.size(); ++k) {
        const size_t change = diagonal + (word[i] == name[k] ? 0 : 1);
        diagonal = row[k + 1];
        row[k + 1] = std::min({change, row[k] + 1, row[k + 1] + 1});
      }
    }
    if (row.back() < best) {
      best = row.back();
      nearest = name;
    }
  }
  return nearest;
}

void CheckField(const Message& message, const FieldDescriptor* field,
                const std::string& key_path, ConfigErrors& errors) {
  FG_CHECK(field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE);
  if (field->is_repeated()) {
    CheckElements(message, field, key_path, errors);
    return;
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    const std::string text = message.GetReflection()->GetString(message, field);
    if (!IsGoodText(field, text)) {
      errors.Add(key_path, TextProblem(field, text));
    }
    return;
  }
  const double number = NumberOf(message, field, -1);
  if (!IsWithin(CheckOf(field), number)) {
    errors.Add(key_path, absl::StrCat("found ", NumberText(number),
                                      "; expected ", Expectation(field)));
  }
}

void CheckMessage(const Message& message, const std::string& key_prefix,
                  ConfigErrors& errors) {
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string path = key_prefix + field->name();
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      CheckField(message, field, path, errors);
    } else if (field->is_repeated()) {
      CheckSize(message, field, path, errors);
      for (int k = 0; k < reflection->FieldSize(message, field); ++k) {
        CheckMessage(reflection->GetRepeatedMessage(message, field, k),
                     absl::StrCat(path, "[", k, "]."), errors);
      }
    } else if (CheckOf(field).required() &&
               !reflection->HasField(message, field)) {
      errors.Add(path,
                 absl::StrCat("is missing; expected ", Expectation(field)));
    } else {
      CheckMessage(reflection->GetMessage(message, field), path + ".", errors);
    }
  }
}

}  // namespace fedgraft
