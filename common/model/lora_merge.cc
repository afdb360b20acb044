#include "common/model/lora_merge.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/model/adapters.h"

namespace fedgraft {
namespace {

constexpr char kB[] = ".lora_b";

// Adds scale B A, row by row.
void AddProduct(const std::vector<float>& b, const std::vector<float>& a,
                int64_t rank, double scale, std::vector<float>& weight) {
  const size_t columns = a.size() / rank, rows = b.size() / rank;
  std::vector<double> row(columns);
  for (size_t i = 0; i < rows; ++i) {
    row.assign(columns, 0.0);
    for (int64_t k = 0; k < rank; ++k) {
      const double factor = scale * b[i * rank + k];
      for (size_t j = 0; j < columns; ++j)
        row[j] += factor * a[k * columns + j];
    }
    for (size_t j = 0; j < columns; ++j) {
      float& value = weight[i * columns + j];
      value = static_cast<float>(value + row[j]);
    }
  }
}

}  // namespace

bool IsLoraTensor(const std::string& name) {
  return absl::EndsWith(name, kB) || absl::EndsWith(name, ".lora_a");
}

absl::StatusOr<std::map<std::string, std::vector<float>>> MergeLora(
    const Plan& plan, const SafetensorsFile& backbone,
    const SafetensorsFile& trained) {
  std::map<std::string, std::vector<float>> merged;
  const int64_t rank = plan.adapter.rank;
  for (const auto& [name, view] : trained.tensors()) {
    if (!absl::EndsWith(name, kB)) continue;
    LoraTarget target{std::string(absl::StripSuffix(name, kB))};
    FG_ASSIGN_OR_RETURN(std::vector<float> weight,
                        backbone.ReadFloats(target.weight()));
    FG_ASSIGN_OR_RETURN(const std::vector<float> b, trained.ReadFloats(name));
    target.rows = backbone.tensors().at(target.weight()).shape[0];
    target.columns = static_cast<int64_t>(weight.size()) / target.rows;
    std::vector<float> a;
    if (plan.adapter.kind == AdapterKind::kLora) {
      a = LoraA(plan, target);
    } else {
      FG_ASSIGN_OR_RETURN(a, trained.ReadFloats(target.a()));
    }
    if (static_cast<int64_t>(b.size()) != target.rows * rank ||
        static_cast<int64_t>(a.size()) != target.columns * rank) {
      return absl::InvalidArgumentError(
          absl::StrCat("the adapter of ", target.layer, " has ", b.size(),
                       " and ", a.size(), " values; rank ", rank, " expects ",
                       target.rows * rank, " and ", target.columns * rank));
    }
    AddProduct(b, a, rank, plan.adapter.alpha / rank, weight);
    merged[target.weight()] = std::move(weight);
  }
  return merged;
}

}  // namespace fedgraft
