#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/store/reduce.h"
#include "aggregator/store/shard_reader.h"
#include "common/base/status_macros.h"
#include "common/numeric/ring_codec.h"
#include "common/numeric/word_statistics.h"
#include "common/protocol/messages.h"

namespace fedgraft {
namespace {

absl::Status Refuse(RefusalReason reason, const std::string& detail) {
  return RefusalError(reason, detail);
}

// A chunk that does not open is the site's fault, unlike a file that cannot be
// read.
absl::Status AsRefusal(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  return Refuse(RefusalReason::kBadSeal, std::string(status.message()));
}

absl::Status CheckHead(const UpdatePayloadHead& head,
                       const UpdateExpectation& expected) {
  if (head.ring != expected.ring) {
    return Refuse(
        RefusalReason::kBadLayout,
        absl::StrCat("words: expected ", expected.ring.word_bits, " bits with ",
                     expected.ring.fraction_bits, " of fraction, got ",
                     head.ring.word_bits, " with ", head.ring.fraction_bits));
  }
  if (head.count != expected.count) {
    return Refuse(RefusalReason::kBadLayout,
                  absl::StrCat("number of words: expected ", expected.count,
                               ", got ", head.count));
  }
  if (head.layout != expected.layout) {
    return Refuse(RefusalReason::kBadLayout,
                  absl::StrCat("layout: expected ", expected.layout.Short(),
                               ", got ", head.layout.Short()));
  }
  constexpr uint64_t kWeightMax = uint64_t{1} << kWeightFractionBits;
  if (!expected.masked &&
      (head.weight_word == 0 || head.weight_word > kWeightMax)) {
    return Refuse(RefusalReason::kBadWeight,
                  absl::StrCat("weight: expected above 0 and at most 1, got ",
                               WeightOfWord(head.weight_word)));
  }
  return absl::OkStatus();
}

void AddWords(const RingSpec& ring, absl::Span<const uint64_t> words,
              WordStatistics& statistics) {
  Bytes packed(PackedBytes(ring.word_bits, words.size()));
  PackWords(ring.word_bits, words, absl::MakeSpan(packed));
  statistics.Add(packed, words.size());
}

}  // namespace

absl::StatusOr<VerifiedUpdate> VerifySealedUpdate(
    const SealedContribution& contribution,
    const UpdateExpectation& expectation) {
  const RingSpec& ring = expectation.ring;
  const ShardPlan plan(ring, expectation.count);
  const SealedStreamShape& shape = contribution.opener->shape();
  if (shape.head_bytes != plan.shape().head_bytes ||
      shape.total_bytes != plan.shape().total_bytes) {
    return Refuse(RefusalReason::kBadLayout,
                  absl::StrCat("plaintext: expected ", plan.shape().total_bytes,
                               " bytes, got ", shape.total_bytes));
  }
  ShardReader reader;
  const auto head_bytes = reader.Open(contribution, 0);
  if (!head_bytes.ok()) return AsRefusal(head_bytes.status());
  const auto head = DecodeUpdateHead(*head_bytes);
  if (!head.ok()) {
    return Refuse(RefusalReason::kBadLayout,
                  std::string(head.status().message()));
  }
  FG_RETURN_IF_ERROR(CheckHead(*head, expectation));

  WordStatistics statistics(ring.word_bits), of_extra(ring.word_bits);
  const uint64_t parameters = expectation.count - expectation.extra_words;
  std::vector<uint64_t> extra;
  for (uint64_t shard = 0; shard < plan.shards(); ++shard) {
    const auto packed = reader.Open(contribution, plan.Chunk(shard));
    if (!packed.ok()) return AsRefusal(packed.status());
    const uint64_t words = plan.Words(shard);
    const uint64_t begin = std::min(plan.Begin(shard), parameters);
    const uint64_t of_shard = std::min(parameters - begin, words);
    if (of_shard == words) {
      statistics.Add(*packed, words);
    } else {
      std::vector<uint64_t> all(words);
      UnpackWords(ring.word_bits, *packed, absl::MakeSpan(all));
      const auto rest = absl::MakeConstSpan(all).subspan(of_shard);
      AddWords(ring, absl::MakeConstSpan(all).first(of_shard), statistics);
      AddWords(ring, rest, of_extra);
      extra.insert(extra.end(), rest.begin(), rest.end());
    }
    if (!expectation.masked &&
        std::max(statistics.magnitude(), of_extra.magnitude()) >
            static_cast<uint64_t>(expectation.term_max)) {
      return Refuse(RefusalReason::kOverNorm,
                    absl::StrCat("a word of chunk ", plan.Chunk(shard),
                                 " is beyond ±", expectation.term_max,
                                 ", the largest that can be summed"));
    }
  }
  return VerifiedUpdate{*head,
                        std::sqrt(statistics.squares()) * ring.Step() /
                            WeightOfWord(head->weight_word),
                        std::move(extra)};
}

}  // namespace fedgraft
