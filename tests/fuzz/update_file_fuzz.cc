// LoadSealedUpdate on a damaged file of a site's disk: sealed bytes, header,
// digest, magic.

#include "client/update/update_file.h"
#include "common/crypto/sha256.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/sim_file_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const ByteSpan content(data, size);
  testing::SimFileStore files;
  files.SetContent("update", ToBytes(content));
  const auto update = LoadSealedUpdate(files, "update");
  if (!update.ok()) {
    // A header that is whole but says nonsense is the codec's refusal.
    if (!absl::IsInvalidArgument(update.status())) {
      fuzz::CheckRefusal(update.status(), absl::StatusCode::kDataLoss);
    }
    return 0;
  }
  ++fuzz::accepted;
  const UploadHeader& header = update->header();
  FG_CHECK(header.size_bytes < size);
  FG_CHECK(Sha256(content.first(header.size_bytes)) == header.sealed_digest);
  const auto file = update->Open(files);
  FG_CHECK(file.ok() && (*file)->size_bytes() == header.size_bytes);
  return 0;
}
