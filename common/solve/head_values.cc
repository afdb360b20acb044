#include "common/solve/head_values.h"

#include <string>

#include "common/base/check.h"
#include "common/model/trainable_set.h"

namespace fedgraft {
namespace {

// Offsets of a linear head's tensors; features 0: there is none.
struct Place {
  int64_t features = 0;
  int64_t weight = -1, bias = -1;
};

Place Find(const Plan& plan, const ParameterLayout& layout) {
  Place place;
  const auto architecture = ArchitectureOf(plan);
  if (!architecture.ok()) return place;
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& spec = layout.tensors()[i];
    if (spec.name == architecture->head_prefix + ".bias") {
      place.bias = layout.Offset(i);
    }
    if (spec.name == architecture->head_prefix + ".weight" &&
        spec.shape.size() == 2 && spec.shape[0] == plan.num_classes()) {
      place.weight = layout.Offset(i);
      place.features = spec.shape[1];
    }
  }
  if (place.bias < 0) place.features = 0;
  return place;
}

// Calls visit(index in the head, index in the values) for every number.
template <typename Visit>
void ForEach(const Plan& plan, const Place& place, Visit visit) {
  FG_CHECK(place.features > 0);
  const int64_t row = place.features + 1;
  for (int64_t c = 0; c < plan.num_classes(); ++c) {
    for (int64_t j = 0; j < place.features; ++j) {
      visit(c * row + j, place.weight + c * place.features + j);
    }
    visit(c * row + place.features, place.bias + c);
  }
}

}  // namespace

int64_t HeadFeatures(const Plan& plan, const ParameterLayout& layout) {
  return Find(plan, layout).features;
}

void SetHead(const Plan& plan, const ParameterLayout& layout,
             const std::vector<double>& head, ParameterVector& values) {
  ForEach(plan, Find(plan, layout), [&](int64_t from, int64_t to) {
    values[to] = static_cast<float>(head[from]);
  });
}

std::vector<double> GetHead(const Plan& plan, const ParameterLayout& layout,
                            const ParameterVector& values) {
  const Place place = Find(plan, layout);
  std::vector<double> head(
      static_cast<size_t>(plan.num_classes() * (place.features + 1)));
  ForEach(plan, place,
          [&](int64_t to, int64_t from) { head[to] = values[from]; });
  return head;
}

}  // namespace fedgraft
