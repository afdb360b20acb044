#include "tests/bench/experiments/feature_pool.h"

#include <algorithm>
#include <fstream>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "client/data/npy.h"
#include "common/base/status_macros.h"
#include "common/shift/sketch_space.h"

namespace fedgraft {

absl::StatusOr<FeaturePool> FeaturePool::Load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": not found"));
  const auto read = [&](absl::Span<uint8_t> out) {
    return file.read(reinterpret_cast<char*>(out.data()),
                     static_cast<std::streamsize>(out.size()))
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat(path, ": too short"));
  };
  FG_ASSIGN_OR_RETURN(const NpyHeader header, ReadNpyHeader(read));
  if (header.kind != 'f' || header.item_bytes != 4 ||
      header.shape.size() != 2 || header.shape[1] < 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected float32 (n, 2 + d), found ", header.ToString()));
  }
  std::vector<float> values(header.data_bytes / sizeof(float));
  FG_RETURN_IF_ERROR(read({reinterpret_cast<uint8_t*>(values.data()),
                           static_cast<size_t>(header.data_bytes)}));
  const auto rows = static_cast<int64_t>(header.shape[0]);
  const auto width = static_cast<int64_t>(header.shape[1]);
  FeaturePool pool;
  std::vector<double> features;
  features.reserve(rows * (width - 2));
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = &values[r * width];
    pool.labels_.push_back(static_cast<int64_t>(row[0]));
    pool.patients_.push_back(static_cast<int64_t>(row[1]));
    features.insert(features.end(), row + 2, row + width);
  }
  SketchSpec spec;
  spec.feature_dim = width - 2;
  FG_ASSIGN_OR_RETURN(const SketchProjection projection,
                      SketchProjection::Create(spec));
  pool.dim_ = spec.projected_dim();
  FG_ASSIGN_OR_RETURN(pool.features_,
                      projection.Map({features, rows, width - 2}));
  return pool;
}

SimulatedRecords FeaturePool::Take(const std::vector<int64_t>& rows) const {
  SimulatedRecords records;
  for (int64_t row : rows) {
    records.labels.push_back(labels_[row]);
    records.features.insert(records.features.end(),
                            features_.begin() + row * dim_,
                            features_.begin() + (row + 1) * dim_);
  }
  return records;
}

SimulatedRecords FeaturePool::Draw(int64_t n, std::mt19937_64& random) const {
  std::vector<int64_t> rows(count());
  std::iota(rows.begin(), rows.end(), 0);
  for (int64_t i = 0; i < n; ++i) {
    std::swap(rows[i], rows[i + random() % (count() - i)]);
  }
  rows.resize(n);
  return Take(rows);
}

}  // namespace fedgraft
