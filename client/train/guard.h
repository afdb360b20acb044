#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fedgraft {

// What LibTorch threw, as a status: RESOURCE_EXHAUSTED if memory ran out, else
// INTERNAL.
inline absl::Status TorchStatus(const std::string& what) {
  const bool memory = absl::StrContains(what, "out of memory") ||
                      absl::StrContains(what, "allocate memory");
  return absl::Status(memory ? absl::StatusCode::kResourceExhausted
                             : absl::StatusCode::kInternal,
                      absl::StrCat("LibTorch: ", what));
}

// Calls `work` (which returns a Status or StatusOr) at a facade to LibTorch:
// nothing is thrown past it.
template <typename Work>
std::invoke_result_t<Work> CatchTorch(const Work& work) {
  try {
    return work();
  } catch (const c10::Error& error) {
    return TorchStatus(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return TorchStatus(error.what());
  }
}

}  // namespace fedgraft
