#pragma once

namespace fedgraft {
inline constexpr const char kVersion[] = "0.1.0";
}  // namespace fedgraft
