#pragma once

#include <string>
#include <string_view>

#include "spdlog/spdlog.h"

namespace fedgraft {

// Sets level ("debug" … "error") and format ("text" or "json") of the process
// log, which goes to standard error. Logs carry ids, sizes and codes; never
// values, pixels, patient names or keys.
void SetUpLogging(std::string_view level, std::string_view format);

}  // namespace fedgraft

#define FG_LOG_DEBUG(...) ::spdlog::debug(__VA_ARGS__)
#define FG_LOG_INFO(...) ::spdlog::info(__VA_ARGS__)
#define FG_LOG_WARNING(...) ::spdlog::warn(__VA_ARGS__)
#define FG_LOG_ERROR(...) ::spdlog::error(__VA_ARGS__)
