#include "client/data/feature_source.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

class FeatureSource final : public DataSource {
 public:
  explicit FeatureSource(FeatureSet set) : set_(std::move(set)) {}

  absl::Status Check(const std::string& where, const DataContext& context) {
    for (const Split split : kAllSplits) {
      const std::vector<float>& values = set_.Values(split);
      FG_CHECK(values.size() ==
               set_.samples[split].size() * static_cast<size_t>(set_.dim));
      for (size_t i = 0; i < values.size(); ++i) {
        if (std::isfinite(values[i])) continue;
        return absl::InvalidArgumentError(absl::StrCat(
            where, ": ", set_.samples[split][i / set_.dim].name, ", feature ",
            i % set_.dim, ": expected a finite number, found ", values[i]));
      }
    }
    return CheckSplits(where, context, set_.samples, warnings_);
  }

  const std::vector<Sample>& Samples(Split split) const override {
    return set_.samples[split];
  }
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }
  int feature_dim() const override { return set_.dim; }
  absl::StatusOr<Image> Load(Split split, size_t index) const override {
    FG_CHECK(index < set_.samples[split].size());
    const std::vector<float>& values = set_.values[static_cast<size_t>(split)];
    const auto first = values.begin() + static_cast<ptrdiff_t>(index) *
                                            static_cast<ptrdiff_t>(set_.dim);
    return Image{1, set_.dim, 1, {first, first + set_.dim}};
  }

 private:
  FeatureSet set_;
  std::vector<std::string> warnings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> MakeFeatureSource(
    FeatureSet set, const std::string& where, const DataContext& context) {
  FG_CHECK(set.dim > 0);
  auto source = std::make_unique<FeatureSource>(std::move(set));
  FG_RETURN_IF_ERROR(source->Check(where, context));
  return std::unique_ptr<DataSource>(std::move(source));
}

absl::Status CheckFeatureDim(const DataSource& source, int expected) {
  const int found = source.feature_dim();
  if (found == expected) return absl::OkStatus();
  const auto text = [](int dim) {
    return dim == 0 ? std::string("images")
                    : absl::StrCat("feature vectors of length ", dim);
  };
  return absl::InvalidArgumentError(
      absl::StrCat("the plan expects ", text(expected),
                   expected == 0 ? "" : " (backbone.feature_dim)",
                   ", the data of this site are ", text(found)));
}

}  // namespace fedgraft
