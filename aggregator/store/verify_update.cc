#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "aggregator/store/reduce.h"
#include "aggregator/store/shard_reader.h"
#include "common/base/status_macros.h"
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
  if (head.weight_word == 0 || head.weight_word > kWeightMax) {
    return Refuse(RefusalReason::kBadWeight,
                  absl::StrCat("weight: expected above 0 and at most 1, got ",
                               WeightOfWord(head.weight_word)));
  }
  return absl::OkStatus();
}

// Sum of squares and extremes of terms, in units of the grid.
class TermStatistics {
 public:
  void Add(int word_bits, absl::Span<const uint64_t> words) {
    const int unused = 64 - word_bits;
    // Several sums: one would wait for each addition before the next. Which
    // term goes to which is fixed, so the result does not vary.
    double squares[kLanes] = {};
    for (size_t i = 0; i < words.size(); ++i) {
      const int64_t term = static_cast<int64_t>(words[i] << unused) >> unused;
      smallest_ = std::min(smallest_, term);
      largest_ = std::max(largest_, term);
      const double value = static_cast<double>(term);
      squares[i % kLanes] += value * value;
    }
    for (const double part : squares) squares_ += part;
  }
  double squares() const { return squares_; }
  bool Within(int64_t term_max) const {
    return smallest_ >= -term_max && largest_ <= term_max;
  }

 private:
  static constexpr size_t kLanes = 4;
  double squares_ = 0;
  int64_t smallest_ = 0;
  int64_t largest_ = 0;
};

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

  TermStatistics statistics;
  std::vector<uint64_t> words;
  for (uint64_t shard = 0; shard < plan.shards(); ++shard) {
    const auto packed = reader.Open(contribution, plan.Chunk(shard));
    if (!packed.ok()) return AsRefusal(packed.status());
    words.resize(plan.Words(shard));
    UnpackWords(ring.word_bits, *packed, absl::MakeSpan(words));
    statistics.Add(ring.word_bits, words);
    if (!statistics.Within(expectation.term_max)) {
      return Refuse(RefusalReason::kOverNorm,
                    absl::StrCat("a word of chunk ", plan.Chunk(shard),
                                 " is beyond ±", expectation.term_max,
                                 ", the largest that can be summed"));
    }
  }
  return VerifiedUpdate{*head, std::sqrt(statistics.squares()) * ring.Step() /
                                   WeightOfWord(head->weight_word)};
}

}  // namespace fedgraft
