#pragma once

#include <memory>
#include <vector>

#include "client/update/update_pipeline.h"
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

// Head and words.
inline Bytes PayloadOf(const QuantizedUpdate& update) {
  auto payload = update.payload().ReadAll();
  FG_CHECK(payload.ok());
  return *std::move(payload);
}
inline double ErrorRmsOf(const QuantizedUpdate& update) {
  const auto totals = update.payload().Totals();
  FG_CHECK(totals.ok());
  return update.payload().ErrorRms(*totals);
}
// The values of the words.
inline std::vector<double> Opened(const QuantizedUpdate& update) {
  const UpdatePayloadHead& head = update.head();
  const Bytes payload = PayloadOf(update);
  std::vector<uint64_t> words(head.count);
  UnpackWords(head.ring.word_bits,
              absl::MakeConstSpan(payload).subspan(UpdatePayloadHead::kBytes),
              absl::MakeSpan(words));
  std::vector<double> values;
  for (const uint64_t word : words) {
    values.push_back(Dequantize(head.ring, word));
  }
  return values;
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
