// SealedStreamOpener on a hostile upload. The input is
//   head_bytes (1 byte) | what a site would send
// and opened as the aggregator does: the shape follows from the size.

#include "common/crypto/sealed_stream.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/sealed_stream_key.h"

namespace fedgraft {
namespace {

// The shape whose sealed size is `sealed_bytes`, if there is one.
bool ShapeOf(uint64_t head_bytes, uint64_t sealed_bytes,
             SealedStreamShape& shape) {
  for (uint64_t chunks = 1; chunks <= 4; ++chunks) {
    const uint64_t frame = kSealedEncBytes + chunks * kAeadTagSize;
    if (sealed_bytes < frame + head_bytes) return false;
    shape = {head_bytes, sealed_bytes - frame};
    if (shape.ChunkCount() == chunks) {
      FG_CHECK(shape.SealedTotal() == sealed_bytes);
      return true;
    }
  }
  return false;
}

void OpenAll(const SealedStreamOpener& opener, ByteSpan sealed) {
  const SealedStreamShape& shape = opener.shape();
  for (uint64_t i = 0; i < shape.ChunkCount(); ++i) {
    Bytes plain(shape.PlainSize(i));
    const absl::Status status = opener.Open(
        i, sealed.subspan(shape.SealedOffset(i), shape.SealedSize(i)),
        absl::MakeSpan(plain));
    if (status.ok()) {
      ++fuzz::accepted;
    } else {
      fuzz::CheckRefusal(status, absl::StatusCode::kDataLoss);
    }
  }
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  if (size < 1 + kSealedEncBytes) return 0;
  const ByteSpan sealed(data + 1, size - 1);
  SealedStreamShape shape;
  if (data[0] == 0 || !ShapeOf(data[0], sealed.size(), shape)) return 0;
  const auto opener = SealedStreamOpener::Create(
      sealed.first(kSealedEncBytes), fuzz::SealedStreamKey().span(),
      AsBytes(fuzz::kSealedInfo), AsBytes(fuzz::kSealedContext), shape);
  if (opener.ok()) {
    OpenAll(*opener, sealed);
  } else {
    fuzz::CheckRefusal(opener.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
