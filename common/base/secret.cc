#include "common/base/secret.h"

namespace fedgraft {

void SecretBytes::Wipe() {
  volatile uint8_t* data = bytes_.data();
  for (size_t i = 0; i < bytes_.size(); ++i) data[i] = 0;
  bytes_.clear();
}

}  // namespace fedgraft
