#include "tests/store/sealed_fixture.h"

#include <utility>

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr std::string_view kInfo = "info";

}  // namespace

SealedFixture::SealedFixture(int word_bits, uint64_t count, uint64_t seed)
    : ring_{.word_bits = word_bits, .fraction_bits = 5},
      count_(count),
      random_(seed),
      key_(GenerateHpkeKeyPair()) {
  random_.Fill(absl::MakeSpan(layout_.bytes));
}

std::vector<uint64_t> SealedFixture::RandomWords(int bits) {
  std::vector<uint64_t> words(count_);
  for (uint64_t& word : words) {
    word = random_.Next();
    if (bits < 64) {
      const int shift = 64 - bits - 1;
      word = static_cast<uint64_t>(static_cast<int64_t>(word) >> shift);
    }
    word &= ring_.Mask();
  }
  return words;
}

UpdatePayloadHead SealedFixture::Head() const {
  return {.ring = ring_,
          .count = count_,
          .weight_word = uint64_t{1} << kWeightFractionBits,
          .saturated = 0,
          .layout = layout_};
}

UpdateExpectation SealedFixture::Expectation() const {
  return {.ring = ring_,
          .count = count_,
          .layout = layout_,
          .term_max = ring_.TermMax(16)};
}

SealedContribution SealedFixture::Seal(const std::string& site,
                                       UpdatePayloadHead head,
                                       const std::vector<uint64_t>& words) {
  Bytes plain = EncodeUpdateHead(head);
  plain.resize(plain.size() + PackedBytes(ring_.word_bits, words.size()));
  PackWords(ring_.word_bits, words,
            absl::MakeSpan(plain).subspan(UpdatePayloadHead::kBytes));
  Bytes sealed;
  const absl::Status status =
      SealStream(key_.public_key, AsBytes(kInfo), AsBytes(site),
                 UpdatePayloadHead::kBytes, plain, random_, [&](ByteSpan part) {
                   sealed.insert(sealed.end(), part.begin(), part.end());
                   return absl::OkStatus();
                 });
  FG_CHECK(status.ok());
  auto opener = SealedStreamOpener::Create(
      ByteSpan(sealed).first(kSealedEncBytes), key_.private_key.span(),
      AsBytes(kInfo), AsBytes(site),
      {.head_bytes = UpdatePayloadHead::kBytes, .total_bytes = plain.size()});
  FG_CHECK(opener.ok());
  files_.SetContent(site, std::move(sealed));
  return Reopen({.site = {site},
                 .sealed = nullptr,
                 .opener = std::make_shared<const SealedStreamOpener>(
                     *std::move(opener))});
}

SealedContribution SealedFixture::Reopen(SealedContribution contribution) {
  contribution.sealed = *files_.OpenRead(contribution.site.value);
  return contribution;
}

ReduceJob SealedFixture::Job(
    std::vector<SealedContribution> contributions) const {
  ReduceJob job;
  job.ring = ring_;
  job.count = count_;
  job.contributions = std::move(contributions);
  return job;
}

}  // namespace fedgraft
