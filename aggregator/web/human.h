#pragma once

#include <cstdint>
#include <string>

namespace fedgraft {

// 1536 -> "1.5 KiB".
std::string HumanBytes(uint64_t bytes);
// 75 -> "1m15s".
std::string HumanSeconds(double seconds);

}  // namespace fedgraft
