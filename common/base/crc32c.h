#pragma once

#include <cstdint>

#include "common/base/bytes.h"

namespace fedgraft {

// CRC-32C (Castagnoli; RFC 3720 appendix B.4). `crc` is the result for the
// bytes before these, so that pieces can be joined.
uint32_t Crc32c(ByteSpan bytes, uint32_t crc = 0);

// The same on processors without an instruction for it.
uint32_t Crc32cByTables(ByteSpan bytes, uint32_t crc = 0);

}  // namespace fedgraft
