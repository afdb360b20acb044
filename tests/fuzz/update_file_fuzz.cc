// LoadSealedUpdate on a damaged file of a site's disk: sealed bytes, header,
// checksum, digest, magic. Read as it is, and with checksum, digest and magic
// made right, so that what they cover is reached.

#include <algorithm>

#include "client/update/update_file.h"
#include "common/base/crc32c.h"
#include "common/crypto/sha256.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/sim_file_store.h"

namespace fedgraft {
namespace {

constexpr size_t kTailBytes = 4 + 4 + 32 + 8;

Bytes Mended(ByteSpan content) {
  Bytes mended = ToBytes(content);
  if (content.size() < kTailBytes) return mended;
  const size_t before_tail = content.size() - kTailBytes;
  uint8_t* const tail = mended.data() + before_tail;
  size_t header_size = 0;
  for (int i = 3; i >= 0; --i) header_size = header_size << 8 | tail[4 + i];
  if (header_size > before_tail) return mended;
  const size_t sealed_size = before_tail - header_size;
  const uint32_t crc = Crc32c(content.first(sealed_size));
  for (int i = 0; i < 4; ++i) tail[i] = static_cast<uint8_t>(crc >> (8 * i));
  const Digest digest =
      Sha256(ByteSpan(mended).subspan(sealed_size, header_size + 8));
  std::copy(digest.bytes.begin(), digest.bytes.end(), tail + 8);
  const ByteSpan magic = AsBytes("FGUPDAT2");
  std::copy(magic.begin(), magic.end(), tail + 40);
  return mended;
}

void Load(ByteSpan content) {
  testing::SimFileStore files;
  files.SetContent("update", ToBytes(content));
  const auto update = LoadSealedUpdate(files, "update");
  if (!update.ok()) {
    // A header that is whole but says nonsense is the codec's refusal.
    if (!absl::IsInvalidArgument(update.status())) {
      fuzz::CheckRefusal(update.status(), absl::StatusCode::kDataLoss);
    }
    return;
  }
  ++fuzz::accepted;
  const UploadHeader& header = update->header();
  FG_CHECK(header.size_bytes < content.size());
  const auto file = update->Open(files);
  FG_CHECK(file.ok() && (*file)->size_bytes() == header.size_bytes);
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const ByteSpan content(data, size);
  Load(content);
  Load(Mended(content));
  return 0;
}
