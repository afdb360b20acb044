#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config_errors.h"

namespace fedgraft {

// A parsed YAML document that still knows its lines.
struct YamlNode {
  enum class Kind { kNull, kScalar, kMap, kSequence };
  Kind kind = Kind::kNull;
  int line = 1;
  std::string text;        // scalar
  bool is_quoted = false;  // scalar in quotes or a block: always text
  // Sequence: the elements. Map: key, value, key, value, …
  std::vector<YamlNode> children;

  // For messages: the text, cut, or "a list", "a map", "nothing".
  std::string Describe() const;
};

// Reads one document of plain YAML. Refuses what configs do not need and what
// can be used to attack a reader: anchors, aliases, tags, more than one
// document, more than 1 MiB, nesting beyond 16. Problems go to `errors`;
// nullopt if there were any. An empty text is a null node.
std::optional<YamlNode> ParseYamlTree(std::string_view text,
                                      ConfigErrors& errors);

}  // namespace fedgraft
