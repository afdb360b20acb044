#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/crypto/sealed_stream.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/update_payload.h"
#include "common/runtime/executor.h"
#include "common/runtime/file_store.h"

// From sealed contributions to sums, shard by shard. A shard is what one
// sealed chunk holds: per contribution one chunk is read, opened, added and
// dropped. Memory: per worker one shard of sums and one chunk, whatever the
// number of sites and parameters.

namespace fedgraft {

// One contribution: its sealed bytes (spool file or inline) and their key.
struct SealedContribution {
  SiteId site;
  std::shared_ptr<const ReadableFile> sealed;
  std::shared_ptr<const SealedStreamOpener> opener;
  // The same bytes if they are in memory, to be opened without a copy; null:
  // they are read from `sealed`.
  std::shared_ptr<const Bytes> in_memory = nullptr;
};

struct ReduceJob {
  RingSpec ring;
  uint64_t count = 0;  // words of each contribution
  // In canonical site order. Not empty; all of one shape, that of
  // (UpdatePayloadHead::kBytes, count, ring.word_bits).
  std::vector<SealedContribution> contributions;
  // Secure aggregation: takes the masks out of the sums of words [begin, begin
  // + sums.size()); null: there are none. From several threads at once.
  std::function<void(uint64_t begin, absl::Span<uint64_t> sums)> unmask;
  // Shards that one worker takes before it queues up again behind other work
  // of the Executor.
  uint64_t shards_per_turn = 16;
};

// How a reduce ended: with which error and whose contribution caused it
// (nullopt if the sink did).
struct ReduceOutcome {
  absl::Status status;
  std::optional<SiteId> site;
};

// Takes the sums of words [begin, begin + sums.size()), mod 2^64: the bits
// above the ring's are carry and mean nothing (Dequantize ignores them). Called
// once per shard, from several threads at once, on disjoint ranges in any
// order.
using SumSink = std::function<absl::Status(uint64_t begin,
                                           absl::Span<const uint64_t> sums)>;
// The same before summing, for rules that need single updates: words[i] is of
// contributions[i]. Memory: one shard per contribution and worker.
using WordsSink = std::function<absl::Status(
    uint64_t begin, absl::Span<const absl::Span<const uint64_t>> words)>;

// Sums on all workers. `done` runs once, on the worker that finished last (to
// come back to a strand it posts), unless the Executor drops work: then job
// and sink are destroyed without it. The sums do not depend on the number of
// workers nor on their order. After an error the remaining shards are skipped.
// DATA_LOSS naming the site: its bytes are not what was sealed.
void ReduceSums(Executor& executor, ReduceJob job, SumSink sink,
                std::function<void(ReduceOutcome)> done);
void ReduceWords(Executor& executor, ReduceJob job, WordsSink sink,
                 std::function<void(ReduceOutcome)> done);
// The same of sums that were kept up on arrival (RunningSum::Take, with 4 bytes
// of `lanes` for each word): the contributions are not read. A shard's lanes
// are not looked at once its sums are with the sink.
void ReduceKeptSums(Executor& executor, ReduceJob job, ByteSpan lanes,
                    SumSink sink, std::function<void(ReduceOutcome)> done);
// The same on the calling thread alone.
ReduceOutcome ReduceSumsHere(const ReduceJob& job, const SumSink& sink);
ReduceOutcome ReduceWordsHere(const ReduceJob& job, const WordsSink& sink);

// The payload head of a contribution: its chunk 0.
absl::StatusOr<UpdatePayloadHead> ReadHead(const SealedContribution& one);
// Sum of the weight words, in Z_2^64.
uint64_t SumOfWeights(absl::Span<const UpdatePayloadHead> heads);

// What an update has to be to count.
struct UpdateExpectation {
  RingSpec ring;
  uint64_t count = 0;
  Digest layout;  // evaluation: zero
  // Largest magnitude of a single word, see RingSpec::TermMax.
  int64_t term_max = 0;
  // The last words, which are no parameters and have no part in the norm.
  uint64_t extra_words = 0;
  // Uniform words, and a weight that means nothing alone: neither is checked.
  bool masked = false;
};
struct VerifiedUpdate {
  UpdatePayloadHead head;
  // L2 norm of the dequantised values divided by the weight.
  double l2_norm = 0;
  std::vector<uint64_t> extra_words;
};
// Opens every chunk of one contribution before it is accepted. Errors as of
// UpdateVerifier (verify_update.h); without a RefusalReason: the file could not
// be read. Reads and opens all bytes: off the strand.
absl::StatusOr<VerifiedUpdate> VerifySealedUpdate(
    const SealedContribution& contribution,
    const UpdateExpectation& expectation);

}  // namespace fedgraft
