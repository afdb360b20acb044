// DecodeEntry: a record of the aggregator's log.

#include "aggregator/round/journal_codec.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  // It would tell of every string that is not UTF-8.
  const google::protobuf::LogSilencer silencer;
  const auto entry = DecodeEntry(ByteSpan(data, size));
  if (entry.ok()) {
    ++fuzz::accepted;
    const Bytes once = EncodeEntry(*entry);
    const auto again = DecodeEntry(once);
    FG_CHECK(again.ok());
    FG_CHECK(EncodeEntry(*again) == once);
  } else {
    fuzz::CheckRefusal(entry.status(), absl::StatusCode::kDataLoss);
  }
  return 0;
}
