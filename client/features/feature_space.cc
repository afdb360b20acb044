#include "client/features/feature_space.h"

#include <bit>

#include "common/base/bytes.h"
#include "common/crypto/sha256.h"

namespace fedgraft {

Digest FeatureSpace(const FeatureSpaceSpec& spec) {
  const PreprocessingSpec& images = spec.preprocessing;
  ByteWriter key;
  key.Sized("fedgraft feature space v1");
  key.Raw(spec.backbone.bytes).Sized(spec.architecture);
  key.U32(static_cast<uint32_t>(spec.stage));
  key.U32(static_cast<uint32_t>(images.size))
      .U8(static_cast<uint8_t>(images.interpolation))
      .U8(static_cast<uint8_t>(images.aspect))
      .U8(images.invert);
  for (const std::vector<double>* values : {&images.mean, &images.std}) {
    key.U32(static_cast<uint32_t>(values->size()));
    for (double value : *values) key.U64(std::bit_cast<uint64_t>(value));
  }
  key.U8(spec.half).Sized(spec.numerics);
  return Sha256(key.bytes());
}

}  // namespace fedgraft
