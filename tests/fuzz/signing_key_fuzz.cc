// SigningKey::FromPem on a key file.

#include "common/crypto/ed25519.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto key = SigningKey::FromPem(AsText(ByteSpan(data, size)));
  if (!key.ok()) {
    fuzz::CheckRefusal(key.status(), absl::StatusCode::kInvalidArgument);
    return 0;
  }
  ++fuzz::accepted;
  const auto again = SigningKey::FromPem(AsText(key->ToPem().span()));
  FG_CHECK(again.ok() && again->PublicKey() == key->PublicKey());
  return 0;
}
