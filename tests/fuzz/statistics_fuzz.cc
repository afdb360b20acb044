// DecodeGathered: what an aggregator gives sites with their training tasks. The
// first byte chooses a plan that gathers counts, Fisher information or both.

#include "common/statistics/gathered_statistics.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  if (size == 0) return 0;
  Plan plan;
  plan.classes = {"a", "b"};
  if (data[0] % 3 != 1) plan.loss.class_weights = ClassWeights::kFederated;
  plan.regularizers.ewc_federated = data[0] % 3 != 0;
  const StatisticsLayout layout(plan,
                                *ParameterLayout::Create({{"fc.bias", {2}}}));
  const auto gathered = DecodeGathered(layout, {data + 1, size - 1});
  if (gathered.ok()) {
    ++fuzz::accepted;
    FG_CHECK(gathered->records() >= 1);
    for (const StatisticsLayout::Part& part : layout.parts()) {
      for (double value : UnpackStatistics(part, gathered->words)) {
        FG_CHECK(value >= 0);
      }
    }
    const Bytes once = EncodeGathered(*gathered);
    const auto again = DecodeGathered(layout, once);
    FG_CHECK(again.ok());
    FG_CHECK(EncodeGathered(*again) == once);
  } else {
    fuzz::CheckRefusal(gathered.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
