#pragma once

#include <memory>

#include "common/base/bytes.h"
#include "common/base/digest.h"

namespace fedgraft {

Digest Sha256(ByteSpan data);

// Incremental. Not thread-safe.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(Sha256Hasher&&) noexcept;
  Sha256Hasher& operator=(Sha256Hasher&&) noexcept;
  void Update(ByteSpan data);
  // REQUIRES: not called before.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedgraft
