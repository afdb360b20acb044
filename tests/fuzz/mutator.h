#pragma once

#include <random>
#include <vector>

#include "common/base/bytes.h"

namespace fedgraft::fuzz {

// A seed with one to four changes: bits flipped, bytes overwritten, pieces cut,
// inserted, repeated, spliced from `other`, or words that parsers stumble over
// put in. The same `random` gives the same bytes on every platform. Never much
// longer than the two seeds together.
Bytes Mutate(std::mt19937& random, Bytes seed, const Bytes& other);

}  // namespace fedgraft::fuzz
