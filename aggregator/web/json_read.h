#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

// Members of a JSON document that may be missing or of another type: a report
// may be of another version, or cut short by a site's policy.

namespace fedgraft {

using Json = nlohmann::json;

inline constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

// The member, or null.
inline const Json& At(const Json& object, std::string_view name) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto it = object.find(name);
  return it == object.end() ? null : *it;
}
inline const Json& At(const Json& list, size_t index) {
  static const Json null;
  return list.is_array() && index < list.size() ? list[index] : null;
}
// The member if it is a list, or an empty one.
inline const Json& ListAt(const Json& object, std::string_view name) {
  static const Json empty = Json::array();
  const Json& value = At(object, name);
  return value.is_array() ? value : empty;
}
// A number, or kNoNumber.
inline double AsNumber(const Json& value) {
  return value.is_number() ? value.get<double>() : kNoNumber;
}
inline double NumberAt(const Json& object, std::string_view name) {
  return AsNumber(At(object, name));
}
// A whole number that is not negative, or 0.
inline uint64_t WholeAt(const Json& object, std::string_view name) {
  const double value = NumberAt(object, name);
  return value > 0 && value < 1.8e19 ? static_cast<uint64_t>(value) : 0;
}
// A text, or nothing.
inline std::string TextAt(const Json& object, std::string_view name) {
  const Json& value = At(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
inline bool TrueAt(const Json& object, std::string_view name) {
  const Json& value = At(object, name);
  return value.is_boolean() && value.get<bool>();
}

}  // namespace fedgraft
