#include "aggregator/store/verify_update.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/numeric/ring_codec.h"
#include "common/protocol/messages.h"

namespace fedgraft {
namespace {

absl::Status Refuse(RefusalReason reason, const std::string& detail) {
  return RefusalError(reason, detail);
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
  const double weight = WeightOfWord(head.weight_word);
  if (!expected.masked && !(weight > 0 && weight <= 1)) {
    return Refuse(
        RefusalReason::kBadWeight,
        absl::StrCat("weight: expected above 0 and at most 1, got ", weight));
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

absl::Status UpdateVerifier::CheckShape(const SealedStreamShape& shape) const {
  if (shape.head_bytes == plan_.shape().head_bytes &&
      shape.total_bytes == plan_.shape().total_bytes) {
    return absl::OkStatus();
  }
  return Refuse(RefusalReason::kBadLayout,
                absl::StrCat("plaintext: expected ", plan_.shape().total_bytes,
                             " bytes, got ", shape.total_bytes));
}

absl::Status UpdateVerifier::Add(ByteSpan plain) {
  const uint64_t chunk = next_chunk_++;
  FG_CHECK(chunk < plan_.shape().ChunkCount() &&
           plain.size() == plan_.shape().PlainSize(chunk));
  if (chunk == 0) return AddHead(plain);
  const uint64_t shard = chunk - 1;
  const uint64_t words = plan_.Words(shard);
  const uint64_t parameters = expectation_.count - expectation_.extra_words;
  const uint64_t begin = std::min(plan_.Begin(shard), parameters);
  const uint64_t of_shard = std::min(parameters - begin, words);
  if (of_shard == words) {
    statistics_.Add(plain, words);
  } else {
    std::vector<uint64_t> all(words);
    UnpackWords(expectation_.ring.word_bits, plain, absl::MakeSpan(all));
    const auto rest = absl::MakeConstSpan(all).subspan(of_shard);
    AddWords(expectation_.ring, absl::MakeConstSpan(all).first(of_shard),
             statistics_);
    AddWords(expectation_.ring, rest, of_extra_);
    extra_.insert(extra_.end(), rest.begin(), rest.end());
  }
  if (!expectation_.masked &&
      std::max(statistics_.magnitude(), of_extra_.magnitude()) >
          static_cast<uint64_t>(expectation_.term_max)) {
    return Refuse(RefusalReason::kOverNorm,
                  absl::StrCat("a word of chunk ", chunk, " is beyond ±",
                               expectation_.term_max,
                               ", the largest that can be summed"));
  }
  return absl::OkStatus();
}

absl::Status UpdateVerifier::AddHead(ByteSpan plain) {
  auto head = DecodeUpdateHead(plain);
  if (!head.ok()) {
    return Refuse(RefusalReason::kBadLayout,
                  std::string(head.status().message()));
  }
  head_ = *head;
  return CheckHead(head_, expectation_);
}

VerifiedUpdate UpdateVerifier::Finish() && {
  FG_CHECK(next_chunk_ == plan_.shape().ChunkCount());
  return VerifiedUpdate{head_,
                        std::sqrt(statistics_.squares()) *
                            expectation_.ring.Step() /
                            WeightOfWord(head_.weight_word),
                        std::move(extra_)};
}

absl::Status SealRefusal(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  return Refuse(RefusalReason::kBadSeal, std::string(status.message()));
}

absl::StatusOr<VerifiedUpdate> VerifySealedUpdate(
    const SealedContribution& contribution,
    const UpdateExpectation& expectation) {
  UpdateVerifier verifier(expectation);
  const SealedStreamShape& shape = contribution.opener->shape();
  FG_RETURN_IF_ERROR(verifier.CheckShape(shape));
  ShardReader reader;
  for (uint64_t chunk = 0; chunk < shape.ChunkCount(); ++chunk) {
    const auto plain = reader.Open(contribution, chunk);
    if (!plain.ok()) return SealRefusal(plain.status());
    FG_RETURN_IF_ERROR(verifier.Add(*plain));
  }
  return std::move(verifier).Finish();
}

}  // namespace fedgraft
