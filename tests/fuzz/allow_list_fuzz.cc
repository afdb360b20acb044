// AllowListContent::FromJson: sites.json of the PKI folder.

#include "aggregator/admin/allow_list.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto list = AllowListContent::FromJson(AsText(ByteSpan(data, size)));
  if (list.ok()) {
    ++fuzz::accepted;
    const auto again = AllowListContent::FromJson(list->ToJson());
    FG_CHECK(again.ok());
    FG_CHECK(again->ToJson() == list->ToJson());
    FG_CHECK(list->ToRoster().keys.size() <= list->sites.size());
  } else {
    fuzz::CheckRefusal(list.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
