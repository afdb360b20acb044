#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/config/config_errors.h"
#include "google/protobuf/message.h"

// YAML -> protobuf, driven by the schema and its (check) annotations
// (proto/options.proto): a key is a field's name, a map a message, a list a
// repeated field.

namespace fedgraft {

// Fills `out` (empty before): values from the YAML, then the schema's default
// for every key that is absent, at every level. Unknown and repeated keys,
// wrong types, values out of range, missing required keys: all of them go to
// `errors`, which also learns the line of every key. If it has any, `out` is
// not to be used. Relative paths are resolved against `folder`, digests become
// lower case.
void YamlToProto(std::string_view text, const std::string& folder,
                 google::protobuf::Message& out, ConfigErrors& errors);

// The text of a config file of at most 1 MiB, and its absolute folder.
struct ConfigFile {
  std::string text;
  std::string folder;
};
// NOT_FOUND; INVALID_ARGUMENT: too long, or not a regular file.
absl::StatusOr<ConfigFile> ReadConfigFile(const std::string& path);

}  // namespace fedgraft
