#include "client/update/rounding_seed.h"

#include "common/base/bytes.h"
#include "common/crypto/sha256.h"
#include "common/protocol/statements.h"

namespace fedgraft {

uint64_t RoundingSeed(const SiteId& site, const UploadHeader& header) {
  ByteWriter writer;
  writer.Sized("fedgraft/rounding/1").Sized(UpdateContext(site, header));
  const Digest digest = Sha256(writer.bytes());
  uint64_t seed = 0;
  for (int i = 0; i < 8; ++i) seed |= uint64_t{digest.bytes[i]} << (8 * i);
  return seed;
}

}  // namespace fedgraft
