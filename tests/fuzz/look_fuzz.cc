// Look::Decode: what an aggregator gives sites with the stages of a look.

#include "common/shift/look.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  Plan plan;
  plan.classes = {"a", "b"};
  plan.architecture = "resnet18";
  plan.quorum = plan.expected_sites = 4;
  const ParameterLayout layout =
      *ParameterLayout::Create({{"fc.weight", {2, 5}}, {"fc.bias", {2}}});
  const auto look = Look::Decode(plan, layout, {data, size});
  if (!look.ok()) {
    FG_CHECK(absl::IsInvalidArgument(look.status()) ||
             absl::IsFailedPrecondition(look.status()));
    return 0;
  }
  ++fuzz::accepted;
  const Bytes once = look->Encode();
  const auto again = Look::Decode(plan, layout, once);
  FG_CHECK(again.ok());
  FG_CHECK(again->Encode() == once);
  FG_CHECK(look->done() || look->words() > 0);
  return 0;
}
