#pragma once

#include <memory>
#include <vector>

#include "common/base/check.h"
#include "common/config/plan.h"
#include "common/model/parameter_layout.h"

namespace fedgraft::testing {

// "fc.bias" [2], "fc.weight" [2, 3]: 8 values.
inline std::shared_ptr<const ParameterLayout> SmallLayout() {
  auto layout =
      ParameterLayout::Create({{"fc.weight", {2, 3}, TensorKind::kWeight},
                               {"fc.bias", {2}, TensorKind::kWeight}});
  FG_CHECK(layout.ok());
  return std::make_shared<const ParameterLayout>(*std::move(layout));
}

inline Plan SmallPlan() {
  Plan plan;
  plan.quorum = 3;
  plan.expected_sites = 3;
  plan.rounds = 5;
  plan.classes = {"normal", "abnormal"};
  plan.update.word_bits = 32;
  plan.update.range = 4;
  plan.update.weight_cap = 100;
  return plan;
}

}  // namespace fedgraft::testing
