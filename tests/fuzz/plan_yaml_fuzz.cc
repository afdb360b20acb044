// ParsePlanYaml: the plan as a person writes it.

#include "common/config/plan_loader.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto plan = ParsePlanYaml(AsText(ByteSpan(data, size)), "fuzz.yaml");
  if (plan.ok()) {
    ++fuzz::accepted;
    // What people may write, the other side accepts.
    const auto received = PlanFromBytes(plan->bytes);
    FG_CHECK(received.ok());
    FG_CHECK(received->hash == plan->hash);
  } else {
    fuzz::CheckRefusal(plan.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
