#include "common/model/tensor_mismatch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/model/safetensors_header.h"

namespace fedgraft {
namespace {

constexpr size_t kListedMax = 10;

void AddList(absl::string_view what, const std::vector<std::string>& names,
             std::vector<std::string>& parts) {
  if (names.empty()) return;
  const size_t listed = std::min(names.size(), kListedMax);
  std::string part = absl::StrCat(
      what, " ", absl::StrJoin(names.begin(), names.begin() + listed, ", "));
  if (listed < names.size()) {
    absl::StrAppend(&part, " and ", names.size() - listed, " more");
  }
  parts.push_back(std::move(part));
}

}  // namespace

void TensorMismatch::AddMisshapen(const std::string& name,
                                  absl::string_view expected,
                                  const TensorView& got) {
  AddMisshapen(name, expected,
               absl::StrCat(DTypeName(got.dtype), " ", ShapeText(got.shape)));
}

void TensorMismatch::AddMisshapen(const std::string& name,
                                  absl::string_view expected,
                                  absl::string_view got) {
  misshapen_.push_back(
      absl::StrCat(name, " (", expected, " expected, ", got, " came)"));
}

absl::Status TensorMismatch::ToStatus(absl::string_view context) const {
  std::vector<std::string> parts;
  AddList("missing", missing_, parts);
  AddList("unexpected", unexpected_, parts);
  AddList("misshapen", misshapen_, parts);
  if (parts.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(context, ": ", absl::StrJoin(parts, "; ")));
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

}  // namespace fedgraft
