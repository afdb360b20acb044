#include "common/config/yaml_to_proto.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/config/field_check.h"
#include "common/config/yaml_tree.h"
#include "google/protobuf/descriptor.h"

namespace fedgraft {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr uintmax_t kFileBytesMax = uintmax_t{1} << 20;

// Where in the schema a key of this name would be right: "local.batch_size".
std::optional<std::string> FindElsewhere(const Descriptor* schema,
                                         const std::string& key,
                                         const std::string& prefix) {
  for (int i = 0; i < schema->field_count(); ++i) {
    const FieldDescriptor* field = schema->field(i);
    const std::string path = prefix + field->name();
    if (field->name() == key) return path;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (auto inner = FindElsewhere(field->message_type(), key, path + ".")) {
        return inner;
      }
    }
  }
  return std::nullopt;
}

// One conversion. Not reusable.
class Converter {
 public:
  Converter(const Descriptor* schema, const std::string& folder,
            ConfigErrors& errors)
      : schema_(schema), folder_(folder), errors_(errors) {}

  // `prefix`: the key path of `out` with its dot, empty at the root.
  void ReadMap(const YamlNode& map, const std::string& prefix, Message& out) {
    const Descriptor* type = out.GetDescriptor();
    std::set<const FieldDescriptor*> seen;
    for (size_t i = 0; i + 1 < map.children.size(); i += 2) {
      const YamlNode& key = map.children[i];
      if (key.kind != YamlNode::Kind::kScalar) {
        errors_.AddAt(
            key.line, prefix,
            absl::StrCat("found ", key.Describe(), " where a key belongs"));
        continue;
      }
      const FieldDescriptor* field = type->FindFieldByName(key.text);
      if (field == nullptr) {
        AddUnknownKey(key, prefix, type);
        continue;
      }
      const std::string path = prefix + field->name();
      if (!seen.insert(field).second) {
        errors_.AddAt(key.line, path, "the key appears twice");
        continue;
      }
      errors_.SetLine(path, key.line);
      ReadField(map.children[i + 1], field, path, out);
    }
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (seen.count(field) > 0) continue;
      if (CheckOf(field).required()) {
        errors_.AddAt(
            map.line, prefix + field->name(),
            absl::StrCat("is missing; expected ", Expectation(field)));
      } else {
        FillDefault(field, out);
      }
    }
  }

 private:
  void AddUnknownKey(const YamlNode& key, const std::string& prefix,
                     const Descriptor* type) {
    std::vector<std::string> names;
    for (int i = 0; i < type->field_count(); ++i) {
      names.push_back(type->field(i)->name());
    }
    std::string problem = absl::StrCat("unknown key; expected one of ",
                                       absl::StrJoin(names, ", "));
    auto suggestion = Nearest(key.text, names);
    if (!suggestion.has_value()) {
      suggestion = FindElsewhere(schema_, key.text, "");
    }
    if (suggestion.has_value()) {
      absl::StrAppend(&problem, "; did you mean \"", *suggestion, "\"?");
    }
    std::string shown = key.Describe();  // in quotes, made safe
    errors_.AddAt(key.line, prefix + shown.substr(1, shown.size() - 2),
                  problem);
  }

  void ReadField(const YamlNode& node, const FieldDescriptor* field,
                 const std::string& path, Message& out) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        field->is_repeated()) {
      return ReadMaps(node, field, path, out);
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      // A key whose lines below are all comments is an empty map.
      if (node.kind == YamlNode::Kind::kMap ||
          node.kind == YamlNode::Kind::kNull) {
        ReadMap(node, path + ".",
                *out.GetReflection()->MutableMessage(&out, field));
      } else {
        AddWrongType(node, field, path);
      }
      return;
    }
    if (field->is_repeated()) {
      if (node.kind != YamlNode::Kind::kSequence) {
        AddWrongType(node, field, path);
        return;
      }
      for (size_t i = 0; i < node.children.size(); ++i) {
        const std::string element = absl::StrCat(path, "[", i, "]");
        errors_.SetLine(element, node.children[i].line);
        if (!SetScalar(node.children[i], field, out)) {
          AddWrongType(node.children[i], field, element);
          return;
        }
      }
    } else if (!SetScalar(node, field, out)) {
      AddWrongType(node, field, path);
      return;
    }
    CheckField(out, field, path, errors_);
  }

  void ReadMaps(const YamlNode& node, const FieldDescriptor* field,
                const std::string& path, Message& out) {
    if (node.kind != YamlNode::Kind::kSequence) {
      return AddWrongType(node, field, path);
    }
    for (size_t i = 0; i < node.children.size(); ++i) {
      const YamlNode& child = node.children[i];
      const std::string element = absl::StrCat(path, "[", i, "]");
      errors_.SetLine(element, child.line);
      if (child.kind != YamlNode::Kind::kMap) {
        return AddWrongType(child, field, element);
      }
      ReadMap(child, element + ".",
              *out.GetReflection()->AddMessage(&out, field));
    }
    CheckSize(out, field, path, errors_);
  }

  void AddWrongType(const YamlNode& node, const FieldDescriptor* field,
                    const std::string& path) {
    const bool is_text_for_number =
        node.is_quoted && field->cpp_type() != FieldDescriptor::CPPTYPE_STRING;
    errors_.Add(
        path, absl::StrCat("found ", is_text_for_number ? "the text " : "",
                           node.Describe(), "; expected ", Expectation(field)));
  }

  void FillDefault(const FieldDescriptor* field, Message& out) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) return;
      Message& inner = *out.GetReflection()->MutableMessage(&out, field);
      for (int i = 0; i < inner.GetDescriptor()->field_count(); ++i) {
        FillDefault(inner.GetDescriptor()->field(i), inner);
      }
    } else if (!CheckOf(field).default_().empty()) {
      YamlNode node;
      node.kind = YamlNode::Kind::kScalar;
      node.text = CheckOf(field).default_();
      FG_CHECK(SetScalar(node, field, out));
    }
  }

  // Sets or appends; false if the text is not of the field's type.
  bool SetScalar(const YamlNode& node, const FieldDescriptor* field,
                 Message& out) {
    if (node.kind != YamlNode::Kind::kScalar) return false;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      Store(field, out, Normalised(node.text, field));
      return true;
    }
    if (node.is_quoted) return false;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value;
        return absl::SimpleAtoi(node.text, &value) && Store(field, out, value);
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t value;
        return absl::SimpleAtoi(node.text, &value) && Store(field, out, value);
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t value;
        return absl::SimpleAtoi(node.text, &value) && Store(field, out, value);
      }
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value;
        return absl::SimpleAtod(node.text, &value) && std::isfinite(value) &&
               Store(field, out, value);
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        if (node.text != "true" && node.text != "false") return false;
        return Store(field, out, node.text == "true");
      default:
        break;
    }
    FG_CHECK(false && "a field type that the config reader does not know");
    return false;
  }

  std::string Normalised(const std::string& text,
                         const FieldDescriptor* field) const {
    if (CheckOf(field).sha256()) return absl::AsciiStrToLower(text);
    if (!CheckOf(field).path() || text.empty()) return text;
    // An absolute `text` replaces the folder.
    return (std::filesystem::path(folder_) / text).lexically_normal().string();
  }

  static bool Store(const FieldDescriptor* field, Message& out,
                    const std::string& value) {
    const auto* reflection = out.GetReflection();
    field->is_repeated() ? reflection->AddString(&out, field, value)
                         : reflection->SetString(&out, field, value);
    return true;
  }
  static bool Store(const FieldDescriptor* field, Message& out, double value) {
    const auto* reflection = out.GetReflection();
    field->is_repeated() ? reflection->AddDouble(&out, field, value)
                         : reflection->SetDouble(&out, field, value);
    return true;
  }
  static bool Store(const FieldDescriptor* field, Message& out, bool value) {
    FG_CHECK(!field->is_repeated());
    out.GetReflection()->SetBool(&out, field, value);
    return true;
  }
  static bool Store(const FieldDescriptor* field, Message& out, int32_t value) {
    FG_CHECK(!field->is_repeated());
    out.GetReflection()->SetInt32(&out, field, value);
    return true;
  }
  static bool Store(const FieldDescriptor* field, Message& out, int64_t value) {
    FG_CHECK(!field->is_repeated());
    out.GetReflection()->SetInt64(&out, field, value);
    return true;
  }
  static bool Store(const FieldDescriptor* field, Message& out,
                    uint64_t value) {
    FG_CHECK(!field->is_repeated());
    out.GetReflection()->SetUInt64(&out, field, value);
    return true;
  }

  const Descriptor* schema_;
  const std::string& folder_;
  ConfigErrors& errors_;
};

}  // namespace

void YamlToProto(std::string_view text, const std::string& folder, Message& out,
                 ConfigErrors& errors) {
  const auto root = ParseYamlTree(text, errors);
  if (!root.has_value()) return;
  if (root->kind != YamlNode::Kind::kMap &&
      root->kind != YamlNode::Kind::kNull) {
    errors.AddAt(
        root->line, "",
        absl::StrCat("found ", root->Describe(), "; expected keys and values"));
    return;
  }
  Converter(out.GetDescriptor(), folder, errors).ReadMap(*root, "", out);
}

absl::StatusOr<ConfigFile> ReadConfigFile(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  if (!fs::is_regular_file(path, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a regular file"));
  }
  const uintmax_t size = fs::file_size(path, error);
  if (error || size > kFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": has ", size, " bytes; at most 1 MiB is allowed"));
  }
  std::ifstream stream(path, std::ios::binary);
  ConfigFile file;
  file.text.resize(size);
  stream.read(file.text.data(), static_cast<std::streamsize>(size));
  const fs::path absolute = fs::absolute(path, error);
  if (!stream || error) {
    return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
  }
  file.folder = absolute.parent_path().string();
  return file;
}

}  // namespace fedgraft
