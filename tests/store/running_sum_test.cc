#include "aggregator/store/running_sum.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "common/numeric/ring_sum.h"
#include "gtest/gtest.h"
#include "tests/support/sim_random.h"

namespace fedgraft {
namespace {

constexpr RingSpec kRing = {.word_bits = 32, .fraction_bits = 20};
// Two shards and a bit.
constexpr uint64_t kCount = 2 * kSealedChunkBytes / 4 + 11;

Digest Name(uint8_t byte) {
  Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

class RunningSumTest : public ::testing::Test {
 protected:
  RunningSumTest() {
    for (uint64_t i = 0; i < 3; ++i) {
      Bytes& words = updates_.emplace_back(PackedBytes(32, kCount));
      testing::SimRandom(i + 1).Fill(absl::MakeSpan(words));
    }
  }
  ByteSpan Shard(size_t update, uint64_t shard) const {
    return ByteSpan(updates_[update])
        .subspan(plan_.Begin(shard) * 4, plan_.Words(shard) * 4);
  }
  void AddAll(size_t update) {
    for (uint64_t shard = 0; shard < plan_.shards(); ++shard) {
      sum_.Add(shard, Shard(update, shard));
    }
    sum_.Count(Name(static_cast<uint8_t>(update)));
  }
  // Of updates 0 to `updates`, mod 2^32.
  std::vector<uint64_t> Expected(size_t updates) const {
    std::vector<uint64_t> words(kCount);
    for (size_t i = 0; i < updates; ++i) {
      AddPacked(32, updates_[i], absl::MakeSpan(words));
    }
    for (uint64_t& word : words) word &= kRing.Mask();
    return words;
  }
  static std::vector<uint64_t> WordsOf(const std::vector<float>& lanes) {
    std::vector<uint64_t> words(lanes.size());
    LanesToWords(32,
                 {reinterpret_cast<const uint8_t*>(lanes.data()),
                  lanes.size() * sizeof(float)},
                 absl::MakeSpan(words));
    return words;
  }

  const ShardPlan plan_{kRing, kCount};
  std::vector<Bytes> updates_;
  RunningSum sum_{kRing, kCount};
};

TEST_F(RunningSumTest, IsTheExactSumWhateverTheOrderOfShardsAndThreads) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < updates_.size(); ++i) {
    threads.emplace_back([this, i] { AddAll(i); });
  }
  for (std::thread& thread : threads) thread.join();
  const auto lanes = sum_.Take({Name(0), Name(1), Name(2)});
  ASSERT_TRUE(lanes.has_value());
  EXPECT_EQ(WordsOf(*lanes), Expected(3));
}

TEST_F(RunningSumTest, IsNoSumOfOtherUpdates) {
  AddAll(0);
  AddAll(1);
  for (const std::set<Digest>& other : {std::set<Digest>{},
                                        {Name(0)},
                                        {Name(0), Name(1), Name(2)},
                                        {Name(0), Name(2)}}) {
    RunningSum sum(kRing, kCount);
    for (uint64_t shard = 0; shard < plan_.shards(); ++shard) {
      sum.Add(shard, Shard(0, shard));
      sum.Add(shard, Shard(1, shard));
    }
    sum.Count(Name(0));
    sum.Count(Name(1));
    EXPECT_FALSE(sum.Take(other).has_value());
  }
  EXPECT_TRUE(sum_.Take({Name(0), Name(1)}).has_value());
}

TEST_F(RunningSumTest, AShardOfAnUploadThatDidNotCountSpoilsIt) {
  AddAll(0);
  sum_.Add(1, Shard(1, 1));
  EXPECT_FALSE(sum_.Take({Name(0)}).has_value());
}

TEST_F(RunningSumTest, IsTakenOnceAndTakesNothingAfterwards) {
  AddAll(0);
  const auto lanes = sum_.Take({Name(0)});
  ASSERT_TRUE(lanes.has_value());
  AddAll(1);
  EXPECT_EQ(WordsOf(*lanes), Expected(1));
  EXPECT_FALSE(sum_.Take({Name(0)}).has_value());
  EXPECT_FALSE(sum_.Take({Name(0), Name(1)}).has_value());
}

TEST_F(RunningSumTest, OfNothingThereIsNone) {
  EXPECT_FALSE(sum_.Take({}).has_value());
}

TEST(RunningSumWidthTest, IsKeptWhereItNeedsTheRoomOfTheValues) {
  for (const int bits : {20, 24, 32}) {
    EXPECT_TRUE(RunningSum::Keeps({.word_bits = bits})) << bits;
  }
  for (const int bits : {8, 12, 16, 64}) {
    EXPECT_FALSE(RunningSum::Keeps({.word_bits = bits})) << bits;
  }
}

}  // namespace
}  // namespace fedgraft
