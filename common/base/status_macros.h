#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// FG_RETURN_IF_ERROR(expr): returns the status from the enclosing function
// unless it is OK. FG_ASSIGN_OR_RETURN(auto x, expr): the same for a StatusOr,
// else assigns its value.
#define FG_RETURN_IF_ERROR(expr)                              \
  do {                                                        \
    if (absl::Status fg_status_ = (expr); !fg_status_.ok()) { \
      return fg_status_;                                      \
    }                                                         \
  } while (false)

#define FG_CONCAT_INNER_(a, b) a##b
#define FG_CONCAT_(a, b) FG_CONCAT_INNER_(a, b)
#define FG_ASSIGN_OR_RETURN(lhs, expr) \
  FG_ASSIGN_OR_RETURN_IMPL_(FG_CONCAT_(fg_statusor_, __LINE__), lhs, expr)
#define FG_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return std::move(tmp).status();  \
  lhs = *std::move(tmp)

namespace fedgraft {

// The same code, with `context` and ": " before the message.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace fedgraft
