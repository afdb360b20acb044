// Roster::FromJson: the sites' keys, from the aggregator.

#include "common/net/roster.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto roster = Roster::FromJson(AsText(ByteSpan(data, size)));
  if (roster.ok()) {
    ++fuzz::accepted;
    const auto again = Roster::FromJson(roster->ToJson());
    FG_CHECK(again.ok());
    FG_CHECK(*again == *roster);
    FG_CHECK(again->Hash() == roster->Hash());
    FG_CHECK(CompareRosters(*roster, Roster()).size() == roster->keys.size());
  } else {
    fuzz::CheckRefusal(roster.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
