#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client/features/feature_cache.h"
#include "client/features/feature_table.h"
#include "common/base/check.h"
#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sim_file_store.h"
#include "tests/support/sim_random.h"
#include "tests/support/status_matchers.h"

namespace fedgraft::testing {

inline Digest Named(const std::string& text) { return Sha256(AsBytes(text)); }

constexpr uint64_t kRowBytes = 12;

// A row that only its key determines.
inline Bytes RowFor(const Digest& key) {
  return Bytes(key.bytes.begin(), key.bytes.begin() + kRowBytes);
}

inline SegmentContent Content(const std::string& space,
                              const std::vector<std::string>& keys) {
  SegmentContent content{Named(space), {3}, kRowBytes, {}, {}};
  for (const std::string& key : keys) {
    content.keys.push_back(Named(key));
    const Bytes row = RowFor(Named(key));
    content.rows.insert(content.rows.end(), row.begin(), row.end());
  }
  return content;
}

// What a segment of `rows` such rows takes on disk.
inline uint64_t SegmentBytes(uint64_t rows) {
  return SegmentHeader::kBytes + rows * (32 + kRowBytes + kSegmentTagBytes) +
         kSegmentTagBytes;
}

// A cache on a simulated disk.
class FeaturesTest : public ::testing::Test {
 protected:
  std::unique_ptr<FeatureCache> Open() {
    FeatureCache::Options options;
    options.files = &files_;
    options.bytes_max = bytes_max_;
    options.key = SecretBytes(ByteSpan(key_));
    options.random = &random_;
    auto cache = FeatureCache::Open(std::move(options));
    FG_CHECK(cache.ok());
    return *std::move(cache);
  }
  // Adds and stores rows.
  static absl::Status Add(FeatureTable& table,
                          const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
      const absl::Status added = table.Add(Named(key), {3}, RowFor(Named(key)));
      if (!added.ok()) return added;
    }
    return table.Flush();
  }
  static bool Has(FeatureTable& table, const std::string& key) {
    if (!table.Contains(Named(key))) return false;
    Bytes row(kRowBytes);
    if (!table.Read(Named(key), absl::MakeSpan(row)).ok()) return false;
    EXPECT_EQ(row, RowFor(Named(key))) << key;
    return true;
  }
  std::vector<std::string> SegmentFiles() const {
    std::vector<std::string> names;
    for (const std::string& path : files_.AllPaths()) {
      if (path.ends_with(".features")) names.push_back(path);
    }
    return names;
  }

  SimFileStore files_;
  SimRandom random_{5};
  Bytes key_;  // empty: not encrypted
  uint64_t bytes_max_ = 1 << 20;
};

}  // namespace fedgraft::testing
