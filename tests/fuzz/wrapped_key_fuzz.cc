// UnwrapSecret on what the aggregator's disk holds of a run's key, with a
// binary key file: a passphrase takes a tenth of a second.

#include "common/crypto/key_wrap.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const Bytes key_file(32, 1);
  const auto secret = UnwrapSecret(key_file, "fuzz", ByteSpan(data, size));
  if (secret.ok()) {
    ++fuzz::accepted;
    FG_CHECK(secret->size() < size);
  } else if (!absl::IsInvalidArgument(secret.status())) {
    fuzz::CheckRefusal(secret.status(), absl::StatusCode::kDataLoss);
  }
  return 0;
}
