#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "aggregator/store/reduce.h"
#include "common/base/bytes.h"
#include "common/crypto/hpke.h"
#include "common/runtime/posix_file_store.h"
#include "tests/support/temp_folder.h"

namespace fedgraft::bench {

// Sealed contributions of `sites` sites with `count` words each, in files of a
// folder on the disk of TMPDIR, as a spool holds them; or in memory as well, as
// an aggregator keeps those below 1 MiB.
class Contributions {
 public:
  Contributions(int sites, uint64_t count, int word_bits,
                bool in_memory = false);
  const ReduceJob& job() const { return job_; }
  // Of all sites together.
  uint64_t packed_bytes() const;

 private:
  SealedContribution Seal(const std::string& site, const HpkeKeyPair& key,
                          const Bytes& plain);

  testing::TempFolder folder_;
  std::unique_ptr<PosixFileStore> files_;
  const bool in_memory_;
  ReduceJob job_;
};

}  // namespace fedgraft::bench
