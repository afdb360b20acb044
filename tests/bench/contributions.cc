#include "tests/bench/contributions.h"

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/numeric/ring_codec.h"
#include "tests/support/sim_random.h"

namespace fedgraft::bench {

Contributions::Contributions(int sites, uint64_t count, int word_bits,
                             bool in_memory)
    : in_memory_(in_memory) {
  files_ = *PosixFileStore::Open(folder_.path());
  const HpkeKeyPair key = GenerateHpkeKeyPair();
  job_.ring = {.word_bits = word_bits, .fraction_bits = 4};
  job_.count = count;
  Bytes plain = EncodeUpdateHead({.ring = job_.ring,
                                  .count = count,
                                  .weight_word = uint64_t{1} << 32,
                                  .saturated = 0,
                                  .layout = {}});
  plain.resize(plain.size() + PackedBytes(word_bits, count));
  testing::SimRandom(1).Fill(
      absl::MakeSpan(plain).subspan(UpdatePayloadHead::kBytes));
  for (int s = 0; s < sites; ++s) {
    job_.contributions.push_back(Seal(absl::StrCat("site-", s), key, plain));
  }
}

uint64_t Contributions::packed_bytes() const {
  return job_.contributions.size() *
         PackedBytes(job_.ring.word_bits, job_.count);
}

SealedContribution Contributions::Seal(const std::string& site,
                                       const HpkeKeyPair& key,
                                       const Bytes& plain) {
  const auto file = *files_->OpenAppend(site, 0);
  Bytes enc;
  FG_CHECK(SealStream(key.public_key, {}, AsBytes(site),
                      UpdatePayloadHead::kBytes, plain,
                      [&](ByteSpan part) {
                        if (enc.empty()) enc = ToBytes(part);
                        return file->Append(part);
                      })
               .ok());
  SealedContribution one;
  one.site = {site};
  one.sealed = *files_->OpenRead(site);
  if (in_memory_) {
    one.in_memory = std::make_shared<const Bytes>(*ReadAll(*files_, site));
  }
  one.opener =
      std::make_shared<const SealedStreamOpener>(*SealedStreamOpener::Create(
          enc, key.private_key.span(), {}, AsBytes(site),
          {.head_bytes = UpdatePayloadHead::kBytes,
           .total_bytes = plain.size()}));
  return one;
}

}  // namespace fedgraft::bench
