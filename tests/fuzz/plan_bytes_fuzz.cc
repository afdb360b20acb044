// PlanFromBytes: the plan as the aggregator sends it.

#include "common/config/plan_loader.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  // It would tell of every string that is not UTF-8.
  const google::protobuf::LogSilencer silencer;
  const ByteSpan bytes(data, size);
  const auto plan = PlanFromBytes(bytes);
  if (plan.ok()) {
    ++fuzz::accepted;
    // Sites agree to a hash: two byte strings must not be one plan.
    FG_CHECK(ByteSpan(plan->bytes) == bytes);
    FG_CHECK(plan->num_classes() > 0);
    FG_CHECK(plan->rounds > 0);
  } else {
    fuzz::CheckRefusal(plan.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
