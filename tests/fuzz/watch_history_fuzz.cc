// WatchHistory::Decode: the charts of watch-data in a site's state folder.

#include "client/shift/watch_history.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto history =
      WatchHistory::Decode(AsText(ByteSpan(data, size)), "history");
  if (history.ok()) {
    ++fuzz::accepted;
    const auto again = WatchHistory::Decode(history->Encode(), "history");
    FG_CHECK(again.ok());
    FG_CHECK(again->Encode() == history->Encode());
  } else {
    fuzz::CheckRefusal(history.status(), absl::StatusCode::kDataLoss);
  }
  return 0;
}
