#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/digest.h"

namespace fedgraft {

enum class TensorKind { kWeight = 1, kBatchNormMean = 2, kBatchNormVar = 3 };

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  TensorKind kind = TensorKind::kWeight;

  int64_t Count() const;  // product of the shape; 1 for a scalar
  bool operator==(const TensorSpec&) const = default;
};

// The trainable set: names and shapes in canonical order (sorted by name), and
// where each lies in the flat vector. Immutable.
class ParameterLayout {
 public:
  ParameterLayout() = default;
  // Sorts. INVALID_ARGUMENT: a name twice, a negative or overflowing size, a
  // BatchNorm variance without its mean (same prefix) or with another shape,
  // or no tensor at all.
  static absl::StatusOr<ParameterLayout> Create(
      std::vector<TensorSpec> tensors);

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  // First flat index of tensors()[i].
  int64_t Offset(size_t i) const { return offsets_[i]; }
  // Index of `name`; NOT_FOUND.
  absl::StatusOr<size_t> Find(std::string_view name) const;
  int64_t Count() const { return count_; }
  // SHA-256 of the canonical encoding of names, shapes and kinds.
  const Digest& digest() const { return digest_; }

 private:
  std::vector<TensorSpec> tensors_;
  std::vector<int64_t> offsets_;
  int64_t count_ = 0;
  Digest digest_;
};

// Floats of one layout, flat. The layout is shared by its users.
using ParameterVector = std::vector<float>;

// In place, for every BatchNorm pair of the layout: variance -> second moment
// (var + mean²) and back (negative results become 0). Sums of updates are taken
// between moments, so that running statistics pool exactly over sites.
void ToMoments(const ParameterLayout& layout, ParameterVector& values);
void FromMoments(const ParameterLayout& layout, ParameterVector& values);

}  // namespace fedgraft
