#include "common/model/seeded_values.h"

#include "common/base/bytes.h"
#include "common/crypto/sha256.h"

namespace fedgraft {

double NextNormal(std::mt19937_64& random) {
  int64_t sum = 0;
  for (int i = 0; i < 12; ++i) sum += static_cast<int64_t>(random() >> 32);
  return static_cast<double>(sum - (int64_t{6} << 32)) * 0x1p-32;
}

std::vector<float> SeededTensor(uint64_t seed, std::string_view name,
                                int64_t count, double deviation) {
  ByteWriter key;
  key.U64(seed).Sized(name);
  const Digest digest = Sha256(key.bytes());
  uint64_t start = 0;
  for (int i = 0; i < 8; ++i) start = start << 8 | digest.bytes[i];
  std::mt19937_64 random(start);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = static_cast<float>(deviation * NextNormal(random));
  }
  return values;
}

}  // namespace fedgraft
