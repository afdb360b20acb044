#include "common/config/yaml_tree.h"

#include <sstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace fedgraft {
namespace {

constexpr size_t kBytesMax = size_t{1} << 20;
constexpr size_t kDepthMax = 16;
constexpr size_t kQuotedMax = 60;

// Builds the tree from the parser's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(ConfigErrors& errors) : errors_(errors) {}

  YamlNode Take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Start(YamlNode::Kind::kNull, mark, "", anchor));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    errors_.AddAt(mark.line + 1, "", "aliases (*name) are not allowed");
    Add(Start(YamlNode::Kind::kNull, mark, "", 0));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag,
                YAML::anchor_t anchor, const std::string& value) override {
    YamlNode node = Start(YamlNode::Kind::kScalar, mark, tag, anchor);
    node.text = value;
    node.is_quoted = tag == "!";
    Add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(Start(YamlNode::Kind::kSequence, mark, tag, anchor));
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag,
                  YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    Open(Start(YamlNode::Kind::kMap, mark, tag, anchor));
  }
  void OnMapEnd() override { Close(); }

 private:
  YamlNode Start(YamlNode::Kind kind, const YAML::Mark& mark,
                 const std::string& tag, YAML::anchor_t anchor) {
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    if (anchor != 0) {
      errors_.AddAt(node.line, "", "anchors (&name) are not allowed");
    }
    // The parser's own marks: "?" for plain, "!" for quoted.
    if (!tag.empty() && tag != "?" && tag != "!") {
      errors_.AddAt(node.line, "", "tags (!name) are not allowed");
    }
    return node;
  }
  void Open(YamlNode node) {
    if (open_.size() == kDepthMax) {
      errors_.AddAt(node.line, "",
                    absl::StrCat("nested deeper than ", kDepthMax, " levels"));
    }
    open_.push_back(std::move(node));
  }
  void Close() {
    FG_CHECK(!open_.empty());
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    Add(std::move(node));
  }
  void Add(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (open_.size() <= kDepthMax) {
      open_.back().children.push_back(std::move(node));
    }
  }

  ConfigErrors& errors_;
  YamlNode root_;
  std::vector<YamlNode> open_;
};

}  // namespace

std::string YamlNode::Describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kMap:
      return "a map";
    case Kind::kSequence:
      return "a list";
    case Kind::kScalar:
      break;
  }
  const std::string cut = absl::CHexEscape(text.substr(0, kQuotedMax));
  return absl::StrCat("\"", cut, text.size() > kQuotedMax ? "…\"" : "\"");
}

std::optional<YamlNode> ParseYamlTree(std::string_view text,
                                      ConfigErrors& errors) {
  if (text.size() > kBytesMax) {
    errors.Add("", absl::StrCat("has ", text.size(),
                                " bytes; at most 1 MiB is allowed"));
    return std::nullopt;
  }
  std::istringstream stream{std::string(text)};
  TreeBuilder builder(errors), next(errors);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    if (parser.HandleNextDocument(next)) {
      errors.Add("", "holds more than one YAML document");
    }
  } catch (const YAML::Exception& error) {
    errors.AddAt(error.mark.line + 1, "",
                 absl::StrCat("not valid YAML: ", error.msg));
  }
  if (!errors.empty()) return std::nullopt;
  return builder.Take();
}

}  // namespace fedgraft
