#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/model/safetensors.h"

namespace fedgraft {

// Collects how a file's tensors differ from the wanted ones, then says so in
// one message: "missing a, b; unexpected c and 7 more; misshapen d (…)".
class TensorMismatch {
 public:
  void AddMissing(std::string name) { missing_.push_back(std::move(name)); }
  void AddUnexpected(std::string name) {
    unexpected_.push_back(std::move(name));
  }
  // `expected`: such as "F32 [64, 3, 7, 7]".
  void AddMisshapen(const std::string& name, absl::string_view expected,
                    const TensorView& got);
  void AddMisshapen(const std::string& name, absl::string_view expected,
                    absl::string_view got);
  // OK if nothing was added, else INVALID_ARGUMENT starting with `context`.
  absl::Status ToStatus(absl::string_view context) const;

 private:
  std::vector<std::string> missing_, unexpected_, misshapen_;
};

// "[64, 3, 7, 7]"
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace fedgraft
