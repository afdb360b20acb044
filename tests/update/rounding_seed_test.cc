#include "client/update/rounding_seed.h"

#include <set>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

TEST(RoundingSeedTest, DiffersForEveryUpdateAndComesAgainForTheSame) {
  UploadHeader header;
  header.run = {"run-1"};
  header.round = {3};
  header.kind = TaskKind::kTrain;
  const uint64_t seed = RoundingSeed({"site-1"}, header);
  EXPECT_EQ(RoundingSeed({"site-1"}, header), seed);
  std::set<uint64_t> seeds = {seed, RoundingSeed({"site-2"}, header)};
  UploadHeader other = header;
  other.round = {4};
  seeds.insert(RoundingSeed({"site-1"}, other));
  other = header;
  other.run = {"run-2"};
  seeds.insert(RoundingSeed({"site-1"}, other));
  other = header;
  other.plan_hash.bytes[0] = 1;
  seeds.insert(RoundingSeed({"site-1"}, other));
  other = header;
  other.base_model.bytes[31] = 1;
  seeds.insert(RoundingSeed({"site-1"}, other));
  EXPECT_EQ(seeds.size(), 6u);
  // What is not known yet when values are rounded does not count.
  other = header;
  other.size_bytes = 100;
  other.sealed_digest.bytes[0] = 1;
  EXPECT_EQ(RoundingSeed({"site-1"}, other), seed);
}

}  // namespace
}  // namespace fedgraft
