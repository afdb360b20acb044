#include "common/model/parameter_layout.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr int64_t kCountMax = std::numeric_limits<int64_t>::max() / 8;

std::string Describe(const TensorSpec& tensor) {
  return absl::StrCat("tensor \"", tensor.name, "\" [",
                      absl::StrJoin(tensor.shape, ", "), "]");
}

std::string Prefix(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? std::string() : name.substr(0, dot + 1);
}

std::string MeanNameOf(const TensorSpec& variance) {
  return Prefix(variance.name) + "running_mean";
}

// Count of elements, 0 to kCountMax.
absl::StatusOr<int64_t> CheckedCount(const TensorSpec& tensor) {
  int64_t count = 1;
  for (int64_t side : tensor.shape) {
    if (side < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(Describe(tensor), " has a negative size"));
    }
    if (side != 0 && count > kCountMax / side) {
      return absl::InvalidArgumentError(
          absl::StrCat(Describe(tensor), " has too many elements"));
    }
    count *= side;
  }
  return count;
}

Digest DigestOf(const std::vector<TensorSpec>& tensors) {
  ByteWriter writer;
  writer.Sized("fedgraft/layout/1");
  writer.U32(static_cast<uint32_t>(tensors.size()));
  for (const TensorSpec& tensor : tensors) {
    writer.Sized(tensor.name);
    writer.U32(static_cast<uint32_t>(tensor.shape.size()));
    for (int64_t side : tensor.shape) {
      writer.U64(static_cast<uint64_t>(side));
    }
    writer.U8(static_cast<uint8_t>(tensor.kind));
  }
  return Sha256(writer.bytes());
}

// Calls use(mean index, variance index) with the flat indices of every
// element of every BatchNorm pair.
template <typename Use>
void ForEachMoment(const ParameterLayout& layout, Use use) {
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& variance = layout.tensors()[i];
    if (variance.kind != TensorKind::kBatchNormVar) continue;
    const auto mean = layout.Find(MeanNameOf(variance));
    FG_CHECK(mean.ok());  // Create made sure
    const int64_t count = variance.Count();
    for (int64_t k = 0; k < count; ++k) {
      use(layout.Offset(*mean) + k, layout.Offset(i) + k);
    }
  }
}

}  // namespace

int64_t TensorSpec::Count() const {
  int64_t count = 1;
  for (int64_t side : shape) count *= side;
  return count;
}

absl::StatusOr<ParameterLayout> ParameterLayout::Create(
    std::vector<TensorSpec> tensors) {
  if (tensors.empty()) {
    return absl::InvalidArgumentError("a layout needs at least one tensor");
  }
  std::sort(
      tensors.begin(), tensors.end(),
      [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
  ParameterLayout layout;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name.empty()) {
      return absl::InvalidArgumentError("a tensor has no name");
    }
    if (i > 0 && tensors[i].name == tensors[i - 1].name) {
      return absl::InvalidArgumentError(
          absl::StrCat(Describe(tensors[i]), " is in the layout twice"));
    }
    FG_ASSIGN_OR_RETURN(const int64_t count, CheckedCount(tensors[i]));
    if (layout.count_ > kCountMax - count) {
      return absl::InvalidArgumentError("the layout has too many elements");
    }
    layout.offsets_.push_back(layout.count_);
    layout.count_ += count;
  }
  layout.tensors_ = std::move(tensors);
  for (const TensorSpec& tensor : layout.tensors_) {
    if (tensor.kind != TensorKind::kBatchNormVar) continue;
    const auto mean = layout.Find(MeanNameOf(tensor));
    if (!mean.ok() ||
        layout.tensors_[*mean].kind != TensorKind::kBatchNormMean ||
        layout.tensors_[*mean].shape != tensor.shape) {
      return absl::InvalidArgumentError(
          absl::StrCat(Describe(tensor), " needs \"", MeanNameOf(tensor),
                       "\" of the same shape beside it"));
    }
  }
  layout.digest_ = DigestOf(layout.tensors_);
  return layout;
}

absl::StatusOr<size_t> ParameterLayout::Find(std::string_view name) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), name,
                       [](const TensorSpec& tensor, std::string_view wanted) {
                         return tensor.name < wanted;
                       });
  if (found == tensors_.end() || found->name != name) {
    return absl::NotFoundError(
        absl::StrCat("no tensor \"", std::string(name), "\" in the layout"));
  }
  return static_cast<size_t>(found - tensors_.begin());
}

void ToMoments(const ParameterLayout& layout, ParameterVector& values) {
  FG_CHECK(static_cast<int64_t>(values.size()) == layout.Count());
  ForEachMoment(layout, [&values](int64_t mean, int64_t variance) {
    const double m = values[mean];
    values[variance] = static_cast<float>(values[variance] + m * m);
  });
}

void FromMoments(const ParameterLayout& layout, ParameterVector& values) {
  FG_CHECK(static_cast<int64_t>(values.size()) == layout.Count());
  ForEachMoment(layout, [&values](int64_t mean, int64_t variance) {
    const double m = values[mean];
    values[variance] =
        static_cast<float>(std::max(0.0, values[variance] - m * m));
  });
}

}  // namespace fedgraft
