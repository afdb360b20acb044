#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "aggregator/store/reduce.h"
#include "aggregator/store/shard_reader.h"
#include "common/base/bytes.h"
#include "common/numeric/word_statistics.h"

namespace fedgraft {

// Looks at the opened chunks of one update, one after another, before it is
// accepted. Errors carry a RefusalReason: kBadLayout (head, word width, count
// or layout), kBadWeight (not in (0, 1]), kOverNorm (a word that is larger than
// any honest one). After an error nothing may be called. Not thread-safe.
class UpdateVerifier {
 public:
  explicit UpdateVerifier(const UpdateExpectation& expectation)
      : expectation_(expectation),
        plan_(expectation.ring, expectation.count),
        statistics_(expectation.ring.word_bits),
        of_extra_(expectation.ring.word_bits) {}

  // kBadLayout: not the shape of what is expected.
  absl::Status CheckShape(const SealedStreamShape& shape) const;
  // The plaintext of the next chunk, from chunk 0 on. REQUIRES: there is one,
  // and this is its size.
  absl::Status Add(ByteSpan plain);
  // REQUIRES: all chunks were added.
  VerifiedUpdate Finish() &&;

 private:
  absl::Status AddHead(ByteSpan plain);

  const UpdateExpectation expectation_;
  const ShardPlan plan_;
  UpdatePayloadHead head_;
  uint64_t next_chunk_ = 0;
  WordStatistics statistics_, of_extra_;
  std::vector<uint64_t> extra_;
};

// What became of opening a chunk. One that does not open is the site's fault
// (kBadSeal), unlike a file that cannot be read.
absl::Status SealRefusal(const absl::Status& status);

}  // namespace fedgraft
