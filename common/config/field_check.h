#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/config/config_errors.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "proto/options.pb.h"

// What a field's (check) annotation in the schema means.

namespace fedgraft {

inline constexpr absl::Duration kDurationMin = absl::Milliseconds(1);
inline constexpr absl::Duration kDurationMax = absl::Hours(720);

const pb::FieldCheck& CheckOf(const google::protobuf::FieldDescriptor* field);

// For messages: "a whole number from 1 to 100", "one of sgd, adamw", …
std::string Expectation(const google::protobuf::FieldDescriptor* field);

// The name nearest to `word`, if it looks like a slip of the pen.
std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& names);

// The number of elements of a repeated field; false: it is wrong and was added
// to `errors`.
bool CheckSize(const google::protobuf::Message& message,
               const google::protobuf::FieldDescriptor* field,
               const std::string& key_path, ConfigErrors& errors);

// Adds to `errors` what is wrong with the value of one field of `message`, a
// message field excepted. `key_path` is the field's.
void CheckField(const google::protobuf::Message& message,
                const google::protobuf::FieldDescriptor* field,
                const std::string& key_path, ConfigErrors& errors);

// The same for every field, inner messages included. For messages that do not
// come from YAML.
void CheckMessage(const google::protobuf::Message& message,
                  const std::string& key_prefix, ConfigErrors& errors);

}  // namespace fedgraft
