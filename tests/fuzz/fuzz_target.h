#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/check.h"

// What every <parser>_fuzz.cc defines: one run of the parser on hostile bytes.
// It returns 0, or aborts (FG_CHECK) when a promise of the parser is broken;
// crashes, hangs and sanitizer reports are the fuzzing engine's to notice. A
// pure function of its input, so that a finding can be replayed.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace fedgraft::fuzz {

// How many inputs the targets have accepted: a corpus of which a parser refuses
// everything at its first check would test nothing.
inline uint64_t accepted = 0;

// A refusal has one of the codes that the parser's header promises. INTERNAL
// or UNKNOWN would blame our own code for the input of others.
template <typename... Codes>
void CheckRefusal(const absl::Status& status, Codes... allowed) {
  FG_CHECK(((status.code() == allowed) || ...));
  FG_CHECK(!status.message().empty());
}

}  // namespace fedgraft::fuzz
