#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "aggregator/store/reduce.h"
#include "common/crypto/hpke.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"

namespace fedgraft {

// Makes sealed contributions with known words, as files of a simulated disk.
class SealedFixture {
 public:
  explicit SealedFixture(int word_bits, uint64_t count, uint64_t seed = 1);

  // Random words below 2^b (of magnitude below 2^`bits` if that is given).
  std::vector<uint64_t> RandomWords(int bits = 64);
  // Seals head and words; returns what a reduce needs. The file is `site`.
  SealedContribution Seal(const std::string& site, UpdatePayloadHead head,
                          const std::vector<uint64_t>& words);
  // The same with this fixture's ring, count and layout, and weight 1.
  SealedContribution Seal(const std::string& site,
                          const std::vector<uint64_t>& words) {
    return Seal(site, Head(), words);
  }
  // Opens a file again, after it was changed.
  SealedContribution Reopen(SealedContribution contribution);

  UpdatePayloadHead Head() const;
  UpdateExpectation Expectation() const;
  ReduceJob Job(std::vector<SealedContribution> contributions) const;

  RingSpec ring_;
  uint64_t count_;
  Digest layout_;
  testing::SimRandom random_;
  testing::SimFileStore files_;
  HpkeKeyPair key_;
};

}  // namespace fedgraft
