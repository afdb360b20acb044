#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

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
  if (!expected.masked &&
      (head.weight_word == 0 || head.weight_word > kWeightMax)) {
    return Refuse(RefusalReason::kBadWeight,
                  absl::StrCat("weight: expected above 0 and at most 1, got ",
                               WeightOfWord(head.weight_word)));
  }
  return absl::OkStatus();
}

// Sum of squares and largest magnitude of terms, in units of the grid. Adds in
// several lanes, so that the compiler uses vector instructions; which term goes
// to which lane is fixed, so the result does not vary.
class TermStatistics {
 public:
  explicit TermStatistics(int word_bits) : word_bits_(word_bits) {}

  void Add(absl::Span<const uint64_t> words) {
    if (word_bits_ <= 32) {
      AddNarrow(words);
    } else {
      AddWide(words);
    }
  }
  double squares() const { return squares_; }
  uint64_t magnitude() const { return magnitude_; }

 private:
  static constexpr size_t kLanes = 4;

  // Terms of 32 bits are exact doubles, and the root of the rounded square of
  // one is its magnitude again (IEEE 754).
  void AddNarrow(absl::Span<const uint64_t> words) {
    const int unused = 32 - word_bits_;
    double squares[kLanes] = {};
    double largest[kLanes] = {};
    const auto add = [&](size_t lane, uint64_t word) {
      const uint32_t shifted = static_cast<uint32_t>(word) << unused;
      const double term = static_cast<int32_t>(shifted) >> unused;
      const double square = term * term;
      largest[lane] = square > largest[lane] ? square : largest[lane];
      squares[lane] += square;
    };
    // Not through Span, whose bounds checks keep the loop from vectorising.
    const uint64_t* const data = words.data();
    const size_t count = words.size();
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) add(lane, data[i + lane]);
    }
    for (; i < count; ++i) add(0, data[i]);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      squares_ += squares[lane];
      magnitude_ =
          std::max(magnitude_, static_cast<uint64_t>(std::sqrt(largest[lane])));
    }
  }

  void AddWide(absl::Span<const uint64_t> words) {
    const int unused = 64 - word_bits_;
    for (const uint64_t word : words) {
      const int64_t term = static_cast<int64_t>(word << unused) >> unused;
      const uint64_t bits = static_cast<uint64_t>(term);
      magnitude_ = std::max(magnitude_, term < 0 ? 0 - bits : bits);
      squares_ += static_cast<double>(term) * static_cast<double>(term);
    }
  }

  const int word_bits_;
  double squares_ = 0;
  uint64_t magnitude_ = 0;
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

  TermStatistics statistics(ring.word_bits), of_extra(ring.word_bits);
  const uint64_t parameters = expectation.count - expectation.extra_words;
  std::vector<uint64_t> extra;
  std::vector<uint64_t> words;
  for (uint64_t shard = 0; shard < plan.shards(); ++shard) {
    const auto packed = reader.Open(contribution, plan.Chunk(shard));
    if (!packed.ok()) return AsRefusal(packed.status());
    words.resize(plan.Words(shard));
    UnpackWords(ring.word_bits, *packed, absl::MakeSpan(words));
    const uint64_t begin = plan.Begin(shard);
    const uint64_t last =
        std::max(begin, std::min(begin + words.size(), parameters));
    const auto all = absl::MakeConstSpan(words);
    statistics.Add(all.first(last - begin));
    of_extra.Add(all.subspan(last - begin));
    extra.insert(extra.end(),
                 words.begin() + static_cast<ptrdiff_t>(last - begin),
                 words.end());
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
