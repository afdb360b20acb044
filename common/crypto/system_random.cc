#include "common/crypto/system_random.h"

#include <openssl/rand.h>

#include <algorithm>

#include "common/base/check.h"

namespace fedgraft {

void SystemRandom::Fill(absl::Span<uint8_t> out) {
  while (!out.empty()) {
    const size_t size = std::min<size_t>(out.size(), 1 << 20);
    FG_CHECK(RAND_bytes(out.data(), static_cast<int>(size)) == 1);
    out.remove_prefix(size);
  }
}

}  // namespace fedgraft
