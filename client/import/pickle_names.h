#pragma once

#include <optional>
#include <string_view>

#include "client/import/element_type.h"

// The names of Python that a pickle may use: all of them.

namespace fedgraft {

inline constexpr std::string_view kOrderedDictName = "collections.OrderedDict";
// Of a tensor, which it returns.
inline constexpr std::string_view kParameterName =
    "torch._utils._rebuild_parameter";

// True for the functions that make a tensor of a storage.
bool IsTensorName(std::string_view name);
// "torch.FloatStorage" and the like.
std::optional<ElementType> StorageTypeNamed(std::string_view name);
bool IsAllowedName(std::string_view name);

}  // namespace fedgraft
