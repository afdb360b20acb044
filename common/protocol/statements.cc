#include "common/protocol/statements.h"

#include <utility>

namespace fedgraft {

Bytes RunKeyStatement(const RunId& run, const Digest& plan_hash,
                      ByteSpan hpke_public_key) {
  ByteWriter writer;
  writer.Sized("fedgraft/run-key/1")
      .U32(kProtocolVersion)
      .Sized(run.value)
      .Raw(plan_hash.bytes)
      .Sized(hpke_public_key);
  return std::move(writer).Take();
}

Bytes UpdateContext(const SiteId& site, const UploadHeader& header) {
  ByteWriter writer;
  writer.Sized("fedgraft/update/1")
      .U32(kProtocolVersion)
      .Sized(header.run.value)
      .Raw(header.plan_hash.bytes)
      .U32(header.round.value)
      .Sized(site.value)
      .U8(static_cast<uint8_t>(header.kind))
      .Raw(header.base_model.bytes);
  // Without it, as it always was.
  if (header.secure_attempt > 0) {
    writer.Sized("masked").U32(header.secure_attempt);
  }
  return std::move(writer).Take();
}

Bytes UploadStatement(const SiteId& site, const UploadHeader& header) {
  ByteWriter writer;
  writer.Sized("fedgraft/upload/1")
      .Sized(UpdateContext(site, header))
      .U64(header.size_bytes)
      .Raw(header.sealed_digest.bytes);
  return std::move(writer).Take();
}

}  // namespace fedgraft
